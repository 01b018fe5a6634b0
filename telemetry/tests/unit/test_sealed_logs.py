"""Every answer of the product is the same before and after the readings of a log are sealed, and damage is told."""

import logging
import random
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from devices.models import DeviceState
from devices.tests.examples import examples
from devices.tests.fixtures import ADMIN_KEY, problem, staff_client
from readings.alarms.models import Alarm, EvaluationState
from readings.alarms.tests.rules import evaluate, make_rule
from readings.log import damage, reader
from readings.log.damage import LogDamaged
from readings.log.reader import Window
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import at, new, state_of, store
from readings.tests.sealing import damage_segment, seal, unseal
from readings.upkeep.rollups import begin_minutes, roll_up
from realtime.access.credentials import WATCH_PERMISSION
from realtime.stream.replays import read

pytestmark = pytest.mark.django_db

COUNT = 300
HISTORY, AGGREGATE = "/api/v1/devices/mote-1/history", "/api/v1/devices/mote-1/aggregate"
WINDOW = {"start": at(777.5).isoformat(), "end": at(9_001).isoformat()}
QUESTIONS: list[tuple[str, dict[str, Any]]] = [
    (HISTORY, {}),
    (HISTORY, {"order": "asc", "limit": 17, "metrics": "co2"}),
    (HISTORY, {"limit": 7} | WINDOW),
    *(
        (HISTORY, {"format": "csv", "shape": shape, "order": order})
        for shape in ("wide", "long")
        for order in ("asc", "desc")
    ),
    (HISTORY, {"format": "csv", "metrics": "humidity"} | WINDOW),
    (AGGREGATE, WINDOW),
    *((AGGREGATE, WINDOW | {"bucket": bucket}) for bucket in ("7s", "1m", "1h", "auto", "25m")),
    (AGGREGATE, WINDOW | {"bucket": "1d", "tz": "Asia/Kolkata", "metrics": "temperature,co2"}),
    (AGGREGATE, {"start": at(-86_400).isoformat(), "end": at(86_400).isoformat(), "bucket": "1m", "metrics": "co2"}),
    ("/api/v1/history", {"device_id": ["mote-2", "mote-1"]}),
    ("/api/v1/aggregate", {"device_id": ["mote-1", "mote-2"], "bucket": "5m"} | WINDOW),
    ("/api/v1/devices/mote-1/latest", {}),
]


async def asked(path: str, parameters: dict[str, Any]) -> bytes:
    response: Any = await AsyncClient().get(path, parameters, headers={"X-API-Key": ADMIN_KEY})
    assert response.status_code == 200, response.content
    return b"".join([part async for part in response]) if response.streaming else response.content


def answers(admin: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = [(question, async_to_sync(asked)(*question)) for question in QUESTIONS]
    rule = {"kind": "threshold", "metric": "temperature", "above": 30, "for": 60}
    preview = admin.post("/api/v1/alarm-rules/preview", {"rule": rule} | WINDOW)
    silent = admin.post("/api/v1/alarm-rules/preview", {"rule": {"kind": "silence", "seconds": 60}} | WINDOW)
    found += [("preview", preview.content), ("silence", silent.content)]
    last = state_of().last_seq
    found += [(f"replay after {after}", read({"mote-1": after}, {"mote-1": last})) for after in (0, 99, last - 1, last)]
    return found


@pytest.fixture
def log(device, other_device):
    """Readings of about two hours and a half, some late. Their sums are exact: all values are multiples of 0.25."""
    chance = random.Random(2)
    readings = []
    for n in range(COUNT):
        late = chance.randint(0, 9_000) if chance.random() < 0.1 else 0
        when = at(30 * n + chance.random() - (late if late < 30 * n else 0))
        values: dict[str, Any] = {"temperature": 20 + chance.randint(0, 80) / 4}
        if n % 3:
            values["humidity"] = 40.5
        values["extra"] = {"co2": chance.choice([400, 500.25, 600]), "b": n} if n % 5 else {}
        readings.append(new(timestamp=when, **values))
    store(readings)
    store([new("mote-2", at(800)), new("mote-2", at(4_000))])


def rolled_up(minutes: str) -> None:
    """Rolls the readings up: by hours, also by minutes, or with minutes that begin after sealing."""
    while roll_up(HOURS):
        pass
    if minutes == "done":
        begin_minutes({"mote-1"})
        while roll_up(MINUTES):
            pass
    elif minutes == "begun":
        begin_minutes({"mote-1"})


SLOW = pytest.mark.slow


# The segments that a log is split into, and up to which number it is sealed.
SPLITS: list[tuple[list[range | list[int]], int]] = [
    ([range(1, 201, 2), range(2, 201, 2), [201]], COUNT - 1),
    ([range(1, 100), range(100, 180)], 180),
]


@pytest.mark.examples
@pytest.mark.parametrize("minutes", [pytest.param("none", marks=SLOW), pytest.param("done", marks=SLOW), "begun"])
def test_api_and_sockets_answer_the_same_before_and_after_sealing(admin, log, minutes):
    rolled_up("none" if minutes == "begun" else minutes)
    before = answers(admin)
    for splits, until in SPLITS[: examples(1, of=len(SPLITS))]:
        seal("mote-1", splits, until=until)
        if minutes == "begun":
            begin_minutes({"mote-1"})
        assert answers(admin) == before
        unseal("mote-1")


def test_pages_of_the_console_show_the_same(device, log):
    client = staff_client("reader", WATCH_PERMISSION)
    pages = ["/admin/readings/reading/", "/admin/readings/reading/?q=mote-1", "/live/mote-1/"]
    before = [readings_in(client.get(page)) for page in pages]
    seal("mote-1")
    assert [readings_in(client.get(page)) for page in pages] == before


def readings_in(response: Any) -> Any:
    assert response.status_code == 200
    if "facts" in response.context:
        return [response.context["facts"][name] for name in ("recent", "began_at", "latest")]
    return [vars(reading) | {"_state": None} for reading in response.context["cl"].result_list]


def test_alarms_are_the_same(log):
    make_rule(metric="temperature", above=35, for_=30)
    make_rule("rate", metric="co2", change=50, per=120)

    def judged() -> list[Any]:
        Alarm.objects.all().delete()
        EvaluationState.objects.all().delete()
        DeviceState.objects.update(alarms_seq=0, alarms_newest="{}")
        evaluate(at(10_000))
        return list(
            Alarm.objects.order_by("rule_id", "opened_at").values_list("rule_id", "opened_at", "resolved_at", "worst")
        )

    before = judged()
    assert len(before) > 3
    seal("mote-1", [range(1, 201, 2), range(2, 201, 2)], until=250)
    assert judged() == before


@pytest.fixture
def damaged(log, monkeypatch):
    """Of the segments 1 to 100 and 101 to 200, a bit of the second one is changed; the other readings are rows."""
    monkeypatch.setattr(damage, "logged", {})
    seal("mote-1", [range(1, 101)], until=200)
    damage_segment("mote-1", 101)


def test_what_is_damaged_is_named_and_everything_else_answered(admin, damaged, caplog):
    for path, parameters in ((HISTORY, {"limit": 1000}), (AGGREGATE, WINDOW | {"bucket": "7s"})):
        document = problem(admin.get(path, parameters), 500)
        assert document["code"] == "log_damaged"
        assert (document["device_id"], document["first_seq"], document["last_seq"]) == ("mote-1", 101, 200)
        assert "101 to 200 of mote-1" in document["detail"]
    with pytest.raises(LogDamaged):
        reader.logs_after({"mote-1": 100}, limit=1)

    assert admin.get(HISTORY, {"limit": 20}).status_code == 200
    assert admin.get("/api/v1/devices/mote-2/history").json()["results"]
    assert [reading.seq for reading in reader.logs_after({"mote-1": 0}, limit=100)] == list(range(1, 101))
    assert reader.logs_after({"mote-1": 200}, limit=1)[0].seq == 201
    assert admin.get("/api/v1/devices").status_code == 200
    told = [record for record in caplog.records if record.name == damage.logger.name]
    assert [record.levelno for record in told] == [logging.ERROR]
    assert "101 to 200 of mote-1" in told[0].getMessage()


def test_a_csv_under_way_breaks_off_at_the_damage(damaged):
    with pytest.raises(LogDamaged):
        async_to_sync(asked)(HISTORY, {"format": "csv", "order": "asc"})


def test_damage_is_logged_again_after_an_hour(damaged, caplog, monkeypatch):
    now = time.monotonic()
    for seconds, logged in ((0, 1), (3599, 1), (3601, 2)):
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        with pytest.raises(LogDamaged):
            reader.page(Window("mote-1"), limit=1000)
        assert sum(record.name == damage.logger.name for record in caplog.records) == logged


def test_lists_decode_no_segment(admin, log, monkeypatch):
    """Also of a silent device, all of whose readings are sealed."""
    seal("mote-1")
    seal("mote-2")
    monkeypatch.setattr("readings.log.reading.opened.opened", lambda data: pytest.fail("decoded"))
    client = staff_client("reader", "devices.view_device", WATCH_PERMISSION)
    for page in ("/admin/readings/reading/", "/admin/devices/device/", "/live/", "/admin/"):
        assert client.get(page).status_code == 200
    assert len(admin.get("/api/v1/devices").json()["results"]) == 2


def test_a_page_is_one_statement_whatever_is_sealed(log):
    counts = []
    for until in (0, 150):
        if until:
            seal("mote-1", [range(1, 100)], until=until)
        with CaptureQueriesContext(connection) as queries:
            reader.page(Window("mote-1"), limit=50, descending=True)
        counts.append(len(queries))
    assert counts == [1, 1]

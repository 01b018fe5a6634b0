"""The number of different metrics of a device is limited, because each costs statistics that are kept forever."""

from importlib import import_module
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import DeviceState
from devices.tests.fixtures import problem
from readings.log import metric_names
from readings.log.metric_names import Memory, Names
from readings.models import Reading
from readings.tests.log.test_concurrency import THREADS, at_once
from readings.tests.logs import at, new, state_of, store
from readings.upkeep.erasure import erase

pytestmark = pytest.mark.django_db

INGEST, BATCH = "/api/v1/ingest", "/api/v1/ingest/batch"


@pytest.fixture(autouse=True)
def limit(settings):
    settings.METRIC_NAMES_PER_DEVICE = 3
    return settings


@pytest.fixture(autouse=True)
def memory(monkeypatch):
    """Clears the cache, as in a process that has just started."""
    memory = Memory()
    monkeypatch.setattr(metric_names, "memory", memory)
    return memory


def extras_of(device_id="mote-1"):
    return sorted(state_of(device_id).latest_values().keys() - {"temperature", "humidity", "voltage"})


def codes(outcomes):
    return [outcome.refusal.code if outcome.refusal else "stored" for outcome in outcomes]


def test_a_reading_that_would_add_one_too_many_is_refused(as_device):
    for name in "abc":
        assert as_device.post(INGEST, {name: 1, "temperature": 20, "humidity": 40, "voltage": 3}).status_code == 201

    document = problem(as_device.post(INGEST, {"d": 1}), 422)

    assert document["errors"][0]["code"] == "too_many_metric_names"
    assert "METRIC_NAMES_PER_DEVICE" in document["detail"]
    assert "3" in document["detail"]
    assert as_device.post(INGEST, {"a": 2, "b": 2, "c": 2}).status_code == 201
    assert extras_of() == ["a", "b", "c"]


def test_columns_do_not_count(device):
    store([new(extra={"a": 1, "b": 1, "c": 1})])
    assert codes(store([new(temperature=1.0, humidity=2.0, voltage=3.0)])) == ["stored"]


def test_in_a_batch_it_is_judged_in_order(as_device):
    answer = as_device.post(
        BATCH, [{"a": 1}, {"b": 1, "c": 1}, {"c": 2, "d": 1}, {"a": 2}, {"e": 1}, {"temperature": 1}]
    )

    assert answer.status_code == 207
    document = answer.json()
    assert [(r["index"], r["code"]) for r in document["rejected"]] == [
        (2, "too_many_metric_names"),
        (4, "too_many_metric_names"),
    ]
    assert document["devices"] == [{"device_id": "mote-1", "first_seq": 1, "last_seq": 4}]


def test_a_reading_of_too_many_by_itself_is_refused_and_one_that_fits_is_not(device):
    outcomes = store([new(extra={"a": 1}), new(extra={"b": 1, "c": 1, "d": 1}), new(extra={"b": 1, "c": 1})])
    assert codes(outcomes) == ["stored", "too_many_metric_names", "stored"]


def test_each_device_has_its_own(device, other_device):
    store([new("mote-1", extra={"a": 1, "b": 1, "c": 1})])
    assert codes(store([new("mote-1", extra={"d": 1}), new("mote-2", extra={"d": 1})])) == [
        "too_many_metric_names",
        "stored",
    ]


def test_a_duplicate_is_no_new_name(device, limit):
    given = new(id=uuid4(), extra={"a": 1, "b": 1, "c": 1})
    store([given])
    limit.METRIC_NAMES_PER_DEVICE = 1
    assert store([given])[0].duplicate


def test_a_refused_reading_may_be_sent_again_under_its_id(device, limit):
    given = new(id=uuid4(), extra=dict.fromkeys("abcd", 1))
    assert codes(store([given])) == ["too_many_metric_names"]
    limit.METRIC_NAMES_PER_DEVICE = 4
    assert codes(store([given])) == ["stored"]


def test_a_device_that_has_more_keeps_them(device, limit):
    limit.METRIC_NAMES_PER_DEVICE = 5
    store([new(extra=dict.fromkeys("abcde", 1))])
    limit.METRIC_NAMES_PER_DEVICE = 3
    assert codes(store([new(extra={"e": 1}), new(extra={"f": 1}), new(temperature=1.0)])) == [
        "stored",
        "too_many_metric_names",
        "stored",
    ]


def test_an_import_is_judged_as_well(device, tmp_path, capsys):
    store([new(extra={"a": 1, "b": 1})])
    file = tmp_path / "history.csv"
    file.write_text("device_id,timestamp,c,d\nmote-1,2026-05-09T12:00:00Z,1,\nmote-1,2026-05-09T12:00:01Z,,1\n")

    with pytest.raises(CommandError, match="1 row was"):
        call_command("import_readings", str(file))

    assert extras_of() == ["a", "b", "c"]
    assert "line 3" in capsys.readouterr().err


def test_another_process_s_names_are_seen(device, memory, monkeypatch):
    store([new(extra={"a": 1})])
    other = Memory()
    monkeypatch.setattr(metric_names, "memory", other)
    store([new(extra={"b": 1, "c": 1})])
    monkeypatch.setattr(metric_names, "memory", memory)

    assert codes(store([new(extra={"d": 1}), new(extra={"c": 1})])) == ["too_many_metric_names", "stored"]


def test_after_an_erasure_the_device_begins_anew_in_every_process(device, memory, monkeypatch):
    store([new(extra={"a": 1, "b": 1, "c": 1})])
    monkeypatch.setattr(metric_names, "memory", Memory())
    list(erase(device, with_device=False))
    state = state_of()
    assert (state.latest, state.latest_id, state.names_seq) == ("{}", None, 0)
    store([new(extra={"d": 1, "e": 1})])
    monkeypatch.setattr(metric_names, "memory", memory)

    assert codes(store([new(extra={"a": 1}), new(extra={"b": 1})])) == ["stored", "too_many_metric_names"]


def test_what_is_rolled_back_is_not_remembered(device, monkeypatch):
    def fail(readings):
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr("readings.querysets.ReadingManager.insert", lambda self, readings, **_: fail(readings))
        with pytest.raises(RuntimeError):
            store([new(extra={"a": 1, "b": 1, "c": 1})])
    assert codes(store([new(extra={"d": 1, "e": 1, "f": 1})])) == ["stored"]


def test_names_that_are_known_cost_no_query(device, other_device):
    readings = [new("mote-1", extra={"a": 1}), new("mote-2", extra={"a": 1, "b": 1})]
    store(readings)
    with CaptureQueriesContext(connection) as queries:
        store(readings)
    statements = [query["sql"] or "" for query in queries]  # psycopg does not tell the text of a prepared one
    assert not any("json_object_keys" in sql or "json_group_array" in sql for sql in statements)


def test_the_memory_is_bounded_and_forgets_the_device_longest_unchanged(monkeypatch):
    monkeypatch.setattr(metric_names, "REMEMBERED_MAX", 10)
    memory = Memory()
    devices = [uuid4() for _ in range(5)]
    for number, device in enumerate(devices):
        memory.put(Names(device, 1, frozenset({"a", "b", f"c{number}"})))
    assert list(memory.devices) == [device.int for device in devices[2:]]
    assert memory.count == 9
    assert len(memory.sets) <= 4


@pytest.mark.django_db(transaction=True)
def test_the_limit_is_exact_whoever_posts_at_once(device):
    outcomes = at_once(lambda number: store([new(timestamp=at(number), extra={f"n{number}": 1})]))

    assert sum(outcome.refusal is None for part in outcomes for outcome in part) == 3 < THREADS
    assert len(extras_of()) == 3
    assert Reading.objects.count() == 3


def fill():
    """Runs the function of the migration for states without values."""
    import_module("devices.migrations.0003_latest_values").fill(None, SimpleNamespace(connection=connection))


@pytest.mark.one_database("a migration from before tables are distributed")
def test_the_migration_finds_of_each_metric_the_newest_value(device, other_device):
    store([new(timestamp=at(0.25), temperature=21.0, extra={"a": 1}), new(timestamp=at(9000), temperature=22.5)])
    store([new(timestamp=at(9000), temperature=23.5), new(timestamp=at(0), humidity=40.0, extra={"b": -2})])
    call_command("maintain", "--once", verbosity=0)
    store([new(timestamp=at(8000), voltage=3.5, extra={"a": 7}), new("mote-2", timestamp=at(1.5), extra={"c": 5})])
    expected = {name: (state_of(name).latest_values(), state_of(name).latest_id) for name in ("mote-1", "mote-2")}
    DeviceState.objects.update(latest="{}", latest_id=None, names_seq=0)

    fill()

    for name, (values, latest_id) in expected.items():
        assert state_of(name).latest_values() == values
        assert state_of(name).latest_id == latest_id
        assert state_of(name).names_seq == state_of(name).last_seq


@pytest.mark.one_database("a migration from before tables are distributed")
def test_the_migration_takes_the_average_where_readings_are_gone(device):
    store([new(timestamp=at(0), extra={"a": 1}), new(timestamp=at(5), extra={"a": 2}), new(timestamp=at(9000))])
    call_command("maintain", "--once", verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM readings_reading WHERE seq < 3")
    DeviceState.objects.update(latest="{}", names_seq=0)

    fill()

    value = state_of().latest_values()["a"]
    assert (value.value, value.microseconds, value.seq) == (1.5, at(0).timestamp() * 1e6, 0)


@pytest.mark.one_database("a migration from before tables are distributed")
def test_the_migration_keeps_every_digit_of_a_value(device, other_device):
    store([new(temperature=-19.248082507249936, extra={"a": 0.1 + 0.2})])
    store([new(humidity=5e-324, extra={"b": 2**53})])
    call_command("maintain", "--once", verbosity=0)
    store([new("mote-2", voltage=1 / 3, extra={"c": 1e300, "d": -7})])
    expected = {name: state_of(name).latest_values() for name in ("mote-1", "mote-2")}
    DeviceState.objects.update(latest="{}", latest_id=None, names_seq=0)

    fill()

    assert {name: state_of(name).latest_values() for name in expected} == expected

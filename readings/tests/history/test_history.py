"""`GET /api/v1/devices/{device_id}/history`: a window of a device's readings."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from devices.tests.fixtures import client_with, problem
from readings.models import Reading
from readings.tests.logs import NOON, at, new, store, store_at

pytestmark = pytest.mark.django_db

HISTORY = "/api/v1/devices/mote-1/history"
MICROSECOND = 0.000001


@pytest.fixture
def found(admin, device):
    """The temperatures of the readings in the answer."""

    def ask(query: str = "", **parameters: Any) -> list[Any]:
        response = admin.get(f"{HISTORY}{query}", parameters or None)
        assert response.status_code == 200, response.content
        return [reading.get("temperature") for reading in response.json()["results"]]

    return ask


def test_a_reading_is_shown_flat_as_it_was_sent(admin, device):
    named = uuid4()
    store([new(id=named, timestamp=at(MICROSECOND), temperature=21.5, extra={"rssi": -67, "pm2_5": 1.25})])

    assert admin.get(HISTORY).json() == {
        "device_id": "mote-1",
        "start": None,
        "end": None,
        "order": "desc",
        "results": [
            {
                "id": str(named),
                "seq": 1,
                "timestamp": "2026-05-09T12:00:00.000001Z",
                "temperature": 21.5,
                "rssi": -67,
                "pm2_5": 1.25,
            }
        ],
        "next": None,
    }


@pytest.mark.parametrize("value", [1e300, -1e300, 1e25, 2.0**63, -(2.0**64), 1e16, 1e-300, 5e-324, 0.1, -67.0, 2**53])
def test_every_value_that_can_be_stored_can_be_shown(admin, device, value):
    store([new(extra={"probe": value})])

    for path in (HISTORY, "/api/v1/devices/mote-1/latest"):
        response = admin.get(path)
        assert response.status_code == 200, response.content
        body = response.json()
        assert float(body.get("results", [body])[0]["probe"]) == value
    assert admin.get("/api/v1/devices/mote-1").json()["latest"]["probe"] == pytest.approx(value, rel=1e-15)
    metrics = admin.get("/api/v1/devices/mote-1/aggregate", {"start": "2026-01-01", "end": "2027-01-01"}).json()[
        "metrics"
    ]
    assert metrics["probe"]["min"] == pytest.approx(value, rel=1e-15)


def test_the_newest_comes_first_unless_asked_otherwise(found):
    store_at(at(0), at(20), at(10))
    assert found() == found(order="desc") == [1, 2, 0]
    assert found(order="asc") == [0, 2, 1]


def test_of_equal_times_the_order_is_that_of_the_log(found):
    store_at(at(0), at(0), at(0))
    assert found(order="asc") == [0, 1, 2]
    assert found(order="desc") == [2, 1, 0]


def test_the_window_includes_its_start_and_excludes_its_end_to_the_microsecond(found):
    store_at(at(-MICROSECOND), at(0), at(10 - MICROSECOND), at(10))
    start, end = at(0).isoformat(), at(10).isoformat()
    assert found(start=start, end=end, order="asc") == [1, 2]
    assert found(start=start) == [3, 2, 1]
    assert found(end=end) == [2, 1, 0]
    assert found(start=start, end=at(MICROSECOND).isoformat()) == [1]


@pytest.mark.parametrize("wall", ["2026-05-09T12:00:00", "2026-05-09T14:00:00"])
def test_another_devices_readings_are_not_found(found, other_device, wall):
    store([new("mote-2")])
    assert found(end=f"{wall}.000001") == []


UNIX = int(NOON.timestamp())


@pytest.mark.parametrize(
    "moment",
    [
        *("2026-05-09T12:00:00Z", "2026-05-09T12:00:00", "2026-05-09T14:00:00%2B02:00", "2026-05-09T14:00:00+02:00"),
        *("2026-05-09T06:30:00-05:30", "2026-05-09T12:00:00.000000Z", "2026-05-09%2012:00:00", "2026-05-09t12:00:00z"),
        *(str(UNIX), f"{UNIX}.0", f"{UNIX}.000000", f"%20{UNIX}%20", f"{UNIX}000", f"{UNIX}000.000"),
    ],
)
@pytest.mark.parametrize(("start", "end"), [("start", "end"), ("from", "to"), ("start", "to")])
def test_a_moment_can_be_written_in_many_ways(found, moment, start, end):
    store_at(at(-MICROSECOND), at(0), at(MICROSECOND))
    assert found(f"?{start}={moment}&order=asc") == [1, 2]
    assert found(f"?{end}={moment}") == [0]


def test_a_fraction_of_unix_seconds_counts(found):
    store_at(at(0.123455), at(0.123456), at(0.123457))
    assert found(start=f"{UNIX}.123456", end=f"{UNIX}.123457") == [1]


def test_a_date_alone_is_its_midnight(found):
    store_at(datetime(2026, 5, 8, 23, 59, 59, 999999, UTC), datetime(2026, 5, 9, tzinfo=UTC))
    assert found(start="2026-05-09") == [1]


@pytest.mark.parametrize(
    ("relative", "expected"),
    [("-90s", 1), ("-30m", 2), ("-2h", 3), ("now-2h", 3), ("-1d", 4), ("-1w", 5), ("-100d", 6)],
)
def test_a_moment_can_be_relative_to_now(found, relative, expected):
    now = timezone.now()
    store_at(*(now - timedelta(seconds=age) for age in (60, 600, 3600, 40_000, 400_000, 4_000_000)))
    assert found(start=relative, end="now", order="desc") == list(range(expected))
    assert found(start=relative) == list(range(expected))
    assert found(end=relative) == list(range(expected, 6))


@pytest.mark.parametrize(
    "value",
    [
        *("", "\x00", "yesterday", "12:00", "2026-13-01", "2026-02-30T00:00:00Z", "2026-05-09T12:00:00+99:00"),
        *("-24", "24h", "-h", "-1y", "now-", "-999999999w", "-٣h"),
        *("1e9", "-5", "99999999999999", "١٧٠٠٠٠٠٠٠٠", "1969-12-31", "9999-12-31T23:59:59Z"),
        *("2025", "20250101", "20250101120000", "45658.33", "2001010100000Z"),
    ],
)
@pytest.mark.parametrize("name", ["start", "end"])
def test_it_refuses_what_names_no_moment(admin, device, name, value):
    document = problem(admin.get(HISTORY, {name: value}), 422)
    assert [error["field"] for error in document["errors"]] == [name]


@pytest.mark.parametrize(("start", "end"), [(0, 0), (1, 0), (MICROSECOND, 0)])
def test_it_refuses_an_empty_or_backward_window(admin, device, start, end):
    window = {"start": at(start).isoformat(), "end": at(end).isoformat()}
    assert [e["code"] for e in problem(admin.get(HISTORY, window), 422)["errors"]] == ["empty_window"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", value) for value in ("0", "-1", "10001", "ten", "", "1.5", "9" * 5000)),
        *(("order", value) for value in ("up", "", "DESC")),
        *(("metrics", value) for value in ("", ",", "temperature,", "Temp", "seq", "a\x00")),
        ("metrics", ",".join(f"m{n}" for n in range(36))),
        *(("format", value) for value in ("xml", "")),
        *(("limits", "1"), ("offset", "0"), ("device_id", "mote-2")),
    ],
    ids=lambda text: repr(text)[:20],
)  # fmt: skip
def test_it_refuses_a_parameter_that_is_unknown_or_wrong(admin, device, name, value):
    document = problem(admin.get(HISTORY, {name: value}), 422)
    assert [error["field"] for error in document["errors"]] == [name]


@pytest.mark.parametrize(("parameters", "count"), [({}, 100), ({"limit": 1}, 1), ({"limit": 10_000}, 120)])
def test_a_page_has_100_readings_unless_asked_otherwise(found, parameters, count):
    store_at(*map(at, range(120)))
    assert len(found(**parameters)) == count


def test_only_readings_that_have_a_metric_asked_for_are_shown_with_nothing_else(admin, device):
    store([new(temperature=1.0, humidity=2.0), new(voltage=3.0, extra={"rssi": -67, "pm": 1}), new(extra={"pm": 2})])

    def shown(metrics: str) -> list[dict[str, Any]]:
        results = admin.get(HISTORY, {"metrics": metrics, "order": "asc"}).json()["results"]
        return [{name: r[name] for name in r if name not in ("id", "seq", "timestamp")} for r in results]

    assert shown("temperature") == [{"temperature": 1.0}]
    assert shown("rssi") == [{"rssi": -67}]
    assert shown("pm") == [{"pm": 1}, {"pm": 2}]
    assert shown(" pm , humidity,pm") == [{"humidity": 2.0}, {"pm": 1}, {"pm": 2}]
    assert shown("nothing") == []


def test_a_page_costs_the_same_number_of_queries_however_long_it_is(
    admin, device, django_assert_max_num_queries, django_assert_num_queries
):
    store_at(at(0))
    with django_assert_max_num_queries(3) as few:
        admin.get(HISTORY)
    store_at(*map(at, range(1, 500)))
    with django_assert_num_queries(len(few)):
        assert len(admin.get(HISTORY, {"limit": 400}).json()["results"]) == 400


def test_a_device_sees_its_own_history_and_no_other(as_device, as_other_device, fleet, device):
    store_at(at(0))
    assert len(as_device.get(HISTORY).json()["results"]) == 1
    problem(as_other_device.get(HISTORY), 404)
    problem(fleet.get(HISTORY), 403)
    problem(client_with(None).get(HISTORY), 401)


def test_a_device_that_does_not_exist_has_no_history(admin, db):
    problem(admin.get("/api/v1/devices/nobody/history"), 404)
    assert not Reading.objects.exists()

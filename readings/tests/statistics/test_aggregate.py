"""`GET /api/v1/devices/{device_id}/aggregate` without buckets, and its parameters."""

import random
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from devices.tests.fixtures import client_with, problem
from readings.tests.logs import NOON, at, new, store, store_at

pytestmark = pytest.mark.django_db

AGGREGATE = "/api/v1/devices/mote-1/aggregate"
HOUR = {"start": at(0).isoformat(), "end": at(3600).isoformat()}
MICROSECOND = 0.000001


@pytest.fixture
def asked(admin, device):
    def ask(**parameters: Any) -> dict[str, Any]:
        response = admin.get(AGGREGATE, HOUR | parameters)
        assert response.status_code == 200, response.content
        return dict(response.json())

    return ask


def statistics(*values: float) -> Any:
    total = sum(values)
    return pytest.approx(
        {"count": len(values), "min": min(values), "max": max(values), "avg": total / len(values), "sum": total},
        rel=1e-12,
    )


EMPTY = {"count": 0, "min": None, "max": None, "avg": None, "sum": 0}


def test_it_gives_the_statistics_of_every_metric_that_has_values(asked):
    store([new(temperature=20.0, extra={"rssi": -60}), new(temperature=23.0, extra={"rssi": -71, "pm2_5": 0.5})])

    assert asked() == {
        "device_id": "mote-1",
        "start": "2026-05-09T12:00:00.000000Z",
        "end": "2026-05-09T13:00:00.000000Z",
        "metrics": {
            "temperature": {"count": 2, "min": 20, "max": 23, "avg": 21.5, "sum": 43},
            "rssi": {"count": 2, "min": -71, "max": -60, "avg": -65.5, "sum": -131},
            "pm2_5": {"count": 1, "min": 0.5, "max": 0.5, "avg": 0.5, "sum": 0.5},
        },
    }


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_what_the_readings_themselves_give(asked, other_device, seed):
    chance = random.Random(seed)
    values: dict[str, list[float]] = defaultdict(list)
    readings = []
    for _ in range(300):
        offset = chance.uniform(-1800, 5400)
        sent: dict[str, Any] = {
            name: round(chance.uniform(-50, 50), 3)
            for name in ("temperature", "voltage", "rssi", "pm")
            if chance.random() < 0.7
        }
        extra = {name: sent.pop(name) for name in ("rssi", "pm") if name in sent}
        readings.append(new(timestamp=at(offset), extra=extra, **sent))
        readings.append(new("mote-2", at(offset), extra={"pm": 1e6}))
        if 0 <= (readings[-1].timestamp - NOON).total_seconds() < 3600:
            for name, value in (sent | extra).items():
                values[name].append(value)
    store(readings)

    assert asked()["metrics"] == {name: statistics(*numbers) for name, numbers in values.items()}
    named = asked(metrics="pm,temperature")["metrics"]
    assert named == {name: statistics(*values[name]) for name in ("pm", "temperature")}


def test_the_window_is_half_open_to_the_microsecond(asked):
    store_at(at(-MICROSECOND), at(0), at(3600 - MICROSECOND), at(3600))
    assert asked()["metrics"]["temperature"] == statistics(1, 2)


def test_a_metric_that_is_named_is_given_also_without_values(asked):
    store([new(temperature=1.0)])
    assert asked(metrics="humidity,temperature,nothing")["metrics"] == {
        "humidity": EMPTY,
        "temperature": statistics(1),
        "nothing": EMPTY,
    }


def test_a_window_without_readings_has_no_metrics(asked):
    assert asked()["metrics"] == {}


@pytest.mark.parametrize("value", [1e300, -1e300, 1e25, -(2.0**63), 2**53, 5e-324])
def test_sums_of_the_largest_values_stay_finite_and_those_of_whole_numbers_do_not_overflow(asked, value):
    # 2^63 / 2^53 = 1024 readings would fill a 64-bit integer.
    store(new(temperature=float(value), extra={"counter": value}) for _ in range(1100))
    metrics = asked()["metrics"]
    for name in ("temperature", "counter"):
        assert metrics[name]["sum"] == pytest.approx(value * 1100, rel=1e-12)
        assert metrics[name]["max"] == pytest.approx(value, rel=1e-12)


def test_the_last_24_hours_are_the_default(admin, device):
    now = timezone.now()
    ages = [-60, 60, 86_000, 87_000]
    store_at(*(now - timedelta(seconds=age) for age in ages))
    answer = admin.get(AGGREGATE).json()
    assert answer["metrics"]["temperature"] == statistics(1, 2)
    assert admin.get(AGGREGATE, {"start": "-2d"}).json()["metrics"]["temperature"] == statistics(1, 2, 3)
    assert admin.get(AGGREGATE, {"from": "-1h", "to": "+1h"}).json()["metrics"]["temperature"] == statistics(0, 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("start", value) for value in ("never", "", "-٣h")),
        *(("end", value) for value in ("never", at(0).isoformat(), at(-1).isoformat())),
        *(("metrics", value) for value in ("", "Temp", "a'b", "timestamp")),
        *(("bucket", value) for value in ("", "0s", "1", "1w", "-1h", "1.5h", "hour", "3651d", "AUTO", "1h;", "٣h")),
        *(("points", value) for value in ("0", "-1", "10001", "many", "", "1.5")),
        *(("tz", value) for value in ("", "Berlin", "+02:00", "europe/berlin", "../../etc/passwd", "\x00", "UTC\n")),
        *(("fill", value) for value in ("", "0", "previous")),
        *(("limit", "5"), ("cursor", "x"), ("format", "xml"), ("interval", "1h")),
    ],
    ids=lambda text: repr(text)[:24],
)  # fmt: skip
def test_it_refuses_a_parameter_that_is_unknown_or_wrong(admin, device, name, value):
    document = problem(admin.get(AGGREGATE, HOUR | {"bucket": "1h", name: value}), 422)
    assert [error["field"] for error in document["errors"]] == [name]


def test_a_window_of_10_000_buckets_is_answered_and_one_more_refused(admin, device):
    window = HOUR | {"bucket": "1s", "end": at(10_000).isoformat()}
    assert admin.get(AGGREGATE, window).status_code == 200
    document = problem(admin.get(AGGREGATE, window | {"end": at(10_000 + MICROSECOND).isoformat()}), 422)
    assert [(error["field"], error["code"]) for error in document["errors"]] == [("bucket", "invalid_bucket")]


@pytest.mark.parametrize("bucket", ["auto", "1d", "7d", "3650d", "87600h"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
@pytest.mark.parametrize(
    "window", [("1970-01-01", "1970-02-01"), ("9999-11-30", "9999-12-30"), ("1970-01-01", "9999-12-30")]
)
def test_the_first_and_the_last_days_of_the_calendar_can_be_asked_for(admin, device, bucket, zone, window):
    parameters = {"start": window[0], "end": window[1], "bucket": bucket, "tz": zone, "fill": "null"}
    assert admin.get(AGGREGATE, parameters).status_code in (200, 422)


def test_it_costs_the_same_number_of_queries_however_many_readings_there_are(
    admin, device, django_assert_max_num_queries, django_assert_num_queries
):
    store_at(at(0))
    with django_assert_max_num_queries(3) as few:
        admin.get(AGGREGATE, HOUR)
    store([new(timestamp=at(n), extra={f"m{n % 30}": n}) for n in range(500)])
    for parameters in ({}, {"bucket": "1m"}, {"bucket": "1d", "tz": "Europe/Berlin"}):
        with django_assert_num_queries(len(few)):
            admin.get(AGGREGATE, HOUR | parameters)


def test_a_device_sees_its_own_statistics_and_no_other(as_device, as_other_device, fleet, device):
    assert as_device.get(AGGREGATE).status_code == 200
    problem(as_other_device.get(AGGREGATE), 404)
    problem(fleet.get(AGGREGATE), 403)
    problem(client_with(None).get(AGGREGATE), 401)


def test_time_zones_are_no_concern_of_the_servers(asked):
    # Another time zone of the database session must not change the result.
    store_at(at(0))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL TIME ZONE 'Asia/Tokyo'")
    answer = asked(bucket="1d", tz="Asia/Kathmandu")
    assert [bucket["start"] for bucket in answer["buckets"]] == ["2026-05-08T18:15:00.000000Z"]

"""`GET /api/v1/devices/{device_id}/aggregate` by buckets."""

import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from readings.tests.logs import NOON, at, new, store, store_at, utc

pytestmark = pytest.mark.django_db

AGGREGATE = "/api/v1/devices/mote-1/aggregate"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EMPTY = {"count": 0, "min": None, "max": None, "avg": None, "sum": 0}


@pytest.fixture
def buckets(admin, device):
    """The buckets of an answer: metrics by start, in the order of the answer."""

    def ask(start: datetime, end: datetime, bucket: str, **parameters: Any) -> dict[datetime, Any]:
        query = {"start": start.isoformat(), "end": end.isoformat(), "bucket": bucket} | parameters
        response = admin.get(AGGREGATE, query)
        assert response.status_code == 200, response.content
        answer = response.json()
        starts = [utc(part["start"]) for part in answer["buckets"]]
        assert starts == sorted(set(starts))
        return dict(zip(starts, [part["metrics"] for part in answer["buckets"]], strict=True))

    return ask


def statistics(values: list[float]) -> Any:
    total = sum(values)
    return pytest.approx(
        {"count": len(values), "min": min(values), "max": max(values), "avg": total / len(values), "sum": total},
        rel=1e-12,
    )


def start_of(when: datetime, bucket: str, zone: ZoneInfo) -> datetime:
    """The start of the bucket of a time, computed without the code of the product."""
    number, unit = int(bucket[:-1]), bucket[-1]
    if unit != "d":
        seconds = number * {"s": 1, "m": 60, "h": 3600}[unit]
        return EPOCH + timedelta(seconds=int((when - EPOCH).total_seconds()) // seconds * seconds)
    day = when.astimezone(zone).date()
    if number == 7:
        day -= timedelta(days=day.weekday())
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


# A window of some days, with or without a clock change.
WINDOWS = [
    ("UTC", "2026-05-07T05:00Z"),
    ("Europe/Berlin", "2026-03-27T05:00Z"),
    ("Europe/Berlin", "2026-10-23T22:00Z"),
    ("America/Sao_Paulo", "2018-11-02T12:34:56.789Z"),
    ("America/Sao_Paulo", "2018-02-16T02:00Z"),
    ("Asia/Kathmandu", "2026-05-07T18:15Z"),
    ("Etc/GMT+10", "2026-05-07T18:15Z"),
    ("America/Port-au-Prince", "2026-03-06T00:00Z"),
    ("Pacific/Apia", "2011-12-28T10:00Z"),
    ("Australia/Lord_Howe", "2026-04-03T00:00Z"),
    ("America/Havana", "2025-10-31T00:00Z"),
]


@pytest.mark.parametrize(("zone", "start"), WINDOWS)
def test_they_equal_what_the_readings_themselves_give(buckets, zone, start):
    chance = random.Random(f"{zone} {start}")
    first = utc(start)
    end = first + timedelta(days=5, hours=7)
    tz = ZoneInfo(zone)
    written: list[tuple[datetime, dict[str, Any]]] = []
    readings = []
    for _ in range(400):
        when = first + timedelta(seconds=chance.choice([chance.uniform(0, 457_000), chance.randrange(127) * 3600]))
        sent: dict[str, Any] = {
            name: round(chance.uniform(-50, 50), 3) for name in ("temperature", "pm") if chance.random() < 0.8
        }
        if not sent or not first <= when < end:
            continue
        extra = {"pm": sent.pop("pm")} if "pm" in sent else {}
        readings.append(new(timestamp=when, extra=extra, **sent))
        written.append((when, sent | extra))
    store(readings)

    for bucket in ("5m", "1h", "1d", "7d"):
        expected: dict[datetime, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for when, sent in written:
            for name, value in sent.items():
                expected[start_of(when, bucket, tz)][name].append(value)
        assert buckets(first, end, bucket, tz=zone) == {
            when: {name: statistics(values) for name, values in metrics.items()} for when, metrics in expected.items()
        }, bucket


@pytest.mark.parametrize(("zone", "start"), WINDOWS)
def test_no_reading_is_lost_or_counted_twice_at_an_edge(buckets, zone, start):
    first = utc(start)
    end = first + timedelta(days=5)
    edges = [first + timedelta(minutes=15 * n) for n in range(481)]
    moments = [edge + timedelta(microseconds=shift) for edge in edges for shift in (-1, 0, 1)]
    store_at(*moments)
    inside = [moment for moment in moments if first <= moment < end]

    for bucket in ("1h", "1d", "7d", "auto"):
        found = buckets(first, end, bucket, tz=zone, fill="null")
        assert sum(metrics["temperature"]["count"] for metrics in found.values()) == len(inside), bucket
        starts = [*found, end]
        for here, following in pairwise(starts):
            count = sum(here <= moment < following for moment in inside)
            assert found[here]["temperature"]["count"] == count, (bucket, here)


@pytest.mark.parametrize("bucket", ["1s", "30s", "1m", "5m", "1h", "1d"])
def test_a_moment_just_before_an_edge_is_not_rounded_over_it(buckets, bucket):
    # Stored with microseconds; rounding to milliseconds would give 13:00:00.
    edge = datetime(2026, 5, 10, tzinfo=UTC)
    before = [edge - timedelta(microseconds=shift) for shift in (1, 400, 500)]
    store_at(*before, edge)
    found = buckets(edge - timedelta(hours=1), edge + timedelta(hours=1), bucket)
    assert [metrics["temperature"]["count"] for metrics in found.values()] == [3, 1]
    assert list(found)[1] == edge


@pytest.mark.parametrize(
    ("zone", "start", "end", "starts"),
    [
        (
            "Europe/Berlin",
            "2026-03-28T00:00+01:00",
            "2026-03-31T00:00+02:00",
            ["2026-03-27T23:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"],
        ),
        (
            "Europe/Berlin",
            "2026-10-24T00:00+02:00",
            "2026-10-27T00:00+01:00",
            ["2026-10-23T22:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z"],
        ),
        ("America/Sao_Paulo", "2018-11-03T12:00Z", "2018-11-05T02:00Z", ["2018-11-03T03:00Z", "2018-11-04T03:00Z"]),
        ("Pacific/Apia", "2011-12-29T10:00Z", "2011-12-31T10:00Z", ["2011-12-29T10:00Z", "2011-12-30T10:00Z"]),
        ("Asia/Kathmandu", "2026-05-09T18:14Z", "2026-05-09T18:16Z", ["2026-05-08T18:15Z", "2026-05-09T18:15Z"]),
    ],
)
def test_days_are_those_of_the_time_zone(buckets, zone, start, end, starts):
    store([new(timestamp=utc(start)), new(timestamp=utc(end) - timedelta(microseconds=1))])
    assert list(buckets(utc(start), utc(end), "1d", tz=zone, fill="null")) == [utc(text) for text in starts]


def test_a_day_is_utcs_unless_a_time_zone_is_named(buckets):
    store_at(NOON)
    assert list(buckets(NOON, at(1), "1d")) == [utc("2026-05-09T00:00Z")]


def test_24h_is_no_day(buckets):
    store_at(NOON)
    assert list(buckets(NOON, at(1), "24h", tz="Asia/Kathmandu")) == [utc("2026-05-09T00:00Z")]


def test_the_first_bucket_may_start_before_the_window_but_counts_only_what_is_in_it(buckets):
    store_at(at(29), at(30), at(59))
    found = buckets(at(30), at(90), "1m")
    assert list(found) == [NOON]
    assert found[NOON]["temperature"]["count"] == 2


def test_empty_buckets_are_left_out_unless_asked_for(buckets):
    store([new(timestamp=at(0), temperature=1.0), new(timestamp=at(180), extra={"pm": 2.0})])
    one = {"count": 1, "min": 1, "max": 1, "avg": 1, "sum": 1}
    two = {"count": 1, "min": 2, "max": 2, "avg": 2, "sum": 2}

    assert buckets(at(-60), at(240), "1m") == {at(0): {"temperature": one}, at(180): {"pm": two}}
    filled = buckets(at(-60), at(240), "1m", fill="null")
    assert filled == {at(n): {"pm": EMPTY, "temperature": EMPTY} for n in range(-60, 240, 60)} | {
        at(0): {"pm": EMPTY, "temperature": one},
        at(180): {"pm": two, "temperature": EMPTY},
    }


def test_a_window_without_readings_has_no_buckets_or_empty_ones(buckets):
    assert buckets(at(0), at(120), "1m") == {}
    assert buckets(at(0), at(120), "1m", fill="null", metrics="rssi") == {at(n): {"rssi": EMPTY} for n in (0, 60)}


def test_only_the_metrics_asked_for_are_given(buckets):
    store([new(temperature=1.0, humidity=2.0, extra={"pm": 3.0, "rssi": -1})])
    assert set(buckets(at(0), at(60), "1m", metrics="pm,humidity")[at(0)]) == {"pm", "humidity"}


def test_auto_chooses_a_size_and_says_which(admin, device):
    window = {"start": at(0).isoformat(), "end": at(86_400).isoformat(), "bucket": "auto"}
    assert admin.get(AGGREGATE, window).json()["bucket"] == "5m"
    assert admin.get(AGGREGATE, window | {"points": 24}).json()["bucket"] == "1h"
    assert admin.get(AGGREGATE, window | {"points": 2}).json()["bucket"] == "12h"
    filled = admin.get(AGGREGATE, window | {"points": 10, "fill": "null", "metrics": "pm"}).json()
    assert (filled["bucket"], len(filled["buckets"])) == ("3h", 8)

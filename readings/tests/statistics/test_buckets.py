"""Buckets: every time lies in exactly one bucket, also around clock changes."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readings.statistics.buckets import BUCKETS_MAX, EPOCH, SECONDS, Bucket, InvalidBucket, parse_bucket
from readings.tests.logs import NOON, utc

pytestmark = pytest.mark.once

UTC_ZONE = ZoneInfo("UTC")
# Time zones with a gap at midnight, a skipped day, a fold across midnight, a change by half an hour, and odd offsets.
ZONES = [
    *("UTC", "Europe/Berlin", "America/Sao_Paulo", "Pacific/Apia", "America/St_Johns", "Australia/Lord_Howe"),
    *("Asia/Kathmandu", "America/Havana", "Africa/Casablanca", "Pacific/Kiritimati", "America/New_York"),
]
# Zones that skipped a day, and the first moment after it.
SKIPPED = [
    ("Pacific/Apia", utc("2011-12-31T00:00+14:00")),
    ("Pacific/Fakaofo", utc("2011-12-31T00:00+13:00")),
    ("Pacific/Kwajalein", utc("1993-08-22T00:00+12:00")),
    ("Pacific/Kanton", utc("1995-01-01T00:00+13:00")),
    ("Pacific/Kiritimati", utc("1995-01-01T00:00+14:00")),
]


def bucket_of(name: str, zone: str = "UTC") -> Bucket:
    number, unit = int(name[:-1]), name[-1]
    return Bucket(name, number * SECONDS[unit], number if unit == "d" else 0, ZoneInfo(zone))


NAMES = st.sampled_from(["1s", "30s", "7s", "5m", "15m", "1h", "5h", "24h", "1d", "2d", "7d", "28d", "364d"])
BUCKETS = st.builds(bucket_of, NAMES, st.sampled_from(ZONES))
MOMENTS = st.integers(631_152_000_000_000, 2_114_380_800_000_000).map(
    lambda us: EPOCH + timedelta(microseconds=us)
)  # 1990 to 2036
MICROSECOND = timedelta(microseconds=1)


@given(BUCKETS, MOMENTS)
@example(bucket_of("1d", "America/Sao_Paulo"), utc("2018-11-04T03:00:00Z"))
@example(bucket_of("1d", "America/Sao_Paulo"), utc("2018-02-18T02:30:00Z"))
@example(bucket_of("1d", "Pacific/Apia"), utc("2011-12-30T09:59:59.999999Z"))
@example(bucket_of("2d", "Pacific/Apia"), utc("2011-12-30T10:00:00Z"))
@example(bucket_of("1d", "America/Havana"), utc("2025-11-02T05:30:00Z"))
@example(bucket_of("1d", "America/St_Johns"), utc("2010-11-07T03:00:00Z"))
def test_a_moment_lies_between_the_start_of_its_bucket_and_the_next(bucket, moment):
    start = bucket.floor(moment)
    assert start <= moment < bucket.next(start)
    assert start.utcoffset() == timedelta(0)


@given(BUCKETS, MOMENTS)
@example(bucket_of("1d", "Pacific/Apia"), utc("2011-12-29T10:00:00Z"))
@example(bucket_of("1d", "America/St_Johns"), utc("2010-11-06T12:00:00Z"))
def test_a_bucket_ends_where_the_next_begins(bucket, moment):
    start = bucket.floor(moment)
    following = bucket.next(start)
    assert bucket.floor(start) == start
    assert bucket.floor(following) == following
    assert bucket.floor(following - MICROSECOND) == start


@given(BUCKETS, MOMENTS, st.integers(1, 40), st.floats(0, 1))
def test_every_moment_of_a_window_lies_in_exactly_one_of_its_buckets(bucket, start, buckets, share):
    end = start + timedelta(seconds=bucket.seconds) * buckets
    starts = list(bucket.starts(start, end))
    assert starts[0] <= start
    assert all(before < after for before, after in pairwise(starts))
    inside = start + (end - start) * share
    for moment in (start, min(inside, end - MICROSECOND), end - MICROSECOND):
        assert [first for first in starts if first <= moment < bucket.next(first)] == [bucket.floor(moment)]


@given(MOMENTS, st.sampled_from(ZONES))
def test_a_day_begins_at_its_first_moment_on_the_clock(moment, zone):
    bucket = bucket_of("1d", zone)
    start = bucket.floor(moment)
    assert start.astimezone(bucket.tz).date() > (start - MICROSECOND).astimezone(bucket.tz).date()


@given(
    st.integers(1, 400),
    st.one_of(
        st.tuples(st.sampled_from(sorted(available_timezones())), MOMENTS),
        st.sampled_from(SKIPPED),
    ),
    st.integers(-10, 10),
)
@example(2, SKIPPED[0], 0)
@example(3, SKIPPED[0], -2)
@example(7, SKIPPED[1], -1)
@example(2, SKIPPED[2], -1)
@example(5, SKIPPED[4], 1)
def test_days_are_those_of_the_calendar(days, place, days_away):
    zone, moment = place
    bucket = bucket_of(f"{days}d", zone)
    start = moment + timedelta(days=days_away)
    starts = list(bucket.starts(start, start + timedelta(days=4 * days + 3)))

    def number(moment: datetime) -> int:
        return int((moment.astimezone(bucket.tz).toordinal() - 1) // days)

    for first, following in pairwise(starts):
        assert number(first) == number(following - MICROSECOND)
        # A bucket of 1d is left out if the zone skipped its only day.
        assert number(following) - number(first) in ((1, 2) if days == 1 else (1,))
    assert 0 <= bucket.count(start, start + timedelta(days=4 * days + 3)) - len(starts) <= (days == 1)


def test_buckets_of_two_days_go_on_after_a_skipped_day():
    starts = bucket_of("2d", "Pacific/Apia").starts(utc("2011-12-28T12:00-10:00"), utc("2012-01-04T00:00+14:00"))
    days = [f"{start.astimezone(ZoneInfo('Pacific/Apia')):%m-%d %H:%M}" for start in starts]
    assert days == ["12-28 00:00", "12-31 00:00", "01-01 00:00", "01-03 00:00"]


def test_a_week_begins_on_monday_and_seconds_at_the_epoch():
    assert bucket_of("7d", "Europe/Berlin").floor(NOON) == utc("2026-05-04T00:00:00+02:00")
    assert bucket_of("7s").floor(datetime(1970, 1, 1, 0, 0, 13, 999_999, UTC)) == datetime(
        1970, 1, 1, 0, 0, 7, tzinfo=UTC
    )


def parse(text: str, seconds: float = 3600, *, points: int = 500, zone: str = "UTC") -> Bucket:
    return parse_bucket(text, start=NOON, end=NOON + timedelta(seconds=seconds), points=points, tz=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("text", "seconds", "days"),
    [("30s", 30, 0), ("5m", 300, 0), ("90m", 5400, 0), ("24h", 86_400, 0), ("1d", 86_400, 1), ("7d", 604_800, 7)],
)
def test_a_bucket_is_named_by_a_number_and_a_unit(text, seconds, days):
    assert parse(text) == Bucket(text, seconds, days, UTC_ZONE)


@given(st.one_of(st.text(), st.text(alphabet="0123456789smhdwauto-. ٣", max_size=9)))
@example("0s")
@example("00h")
@example("9999999d")
@example("3651d")
@example("٣h")
@example("1h\n")
def test_text_names_a_bucket_or_is_refused(text):
    try:
        bucket = parse(text)
    except InvalidBucket:
        return
    assert text == "auto" or (text.isascii() and text[:-1].isdigit() and bucket.seconds > 0)


@pytest.mark.parametrize(
    "text", ["", "0s", "1", "h", "1w", "1M", "1.5h", "-1h", " 1h", "1h ", "AUTO", "3651d", "99999999s"]
)
def test_it_refuses_any_other_name(text):
    with pytest.raises(InvalidBucket):
        parse(text)


def test_a_window_has_10_000_buckets_and_not_one_more():
    assert parse("1s", BUCKETS_MAX).seconds == 1
    with pytest.raises(InvalidBucket):
        parse("1s", BUCKETS_MAX + 0.000001)


@given(MOMENTS, st.floats(1, 3 * 364 * 86_400), st.integers(5, 2000), st.sampled_from(ZONES))
def test_auto_is_a_size_that_gives_at_most_so_many_buckets(start, seconds, points, zone):
    window = {"start": start, "end": start + timedelta(seconds=seconds)}
    bucket = parse_bucket("auto", **window, points=points, tz=ZoneInfo(zone))
    assert len(list(bucket.starts(**window))) <= points


@pytest.mark.parametrize(
    ("seconds", "points", "name"),
    [
        (60, 500, "1s"),
        (3600, 500, "10s"),
        (86_400, 500, "5m"),
        (604_800, 500, "30m"),
        (604_800, 8, "1d"),
        (3600, 1, "1h"),
    ],
)
def test_auto_is_the_smallest_such_size(seconds, points, name):
    assert parse("auto", seconds, points=points).name == name


@pytest.mark.parametrize(("end", "points"), [("2026-03-30T00:30+02:00", 1), ("2026-03-31T00:30+02:00", 2)])
def test_auto_counts_a_day_that_the_clocks_shorten(end, points):
    start = utc("2026-03-29T00:00+01:00")
    bucket = parse_bucket("auto", start=start, end=utc(end), points=points, tz=ZoneInfo("Europe/Berlin"))
    assert len(list(bucket.starts(start, utc(end)))) <= points


@pytest.mark.parametrize("name", ["1h", "1d", "7d", "28d", "364d", "3650d", "87600h"])
def test_the_last_days_of_the_calendar_have_buckets_too(name):
    bucket = bucket_of(name, "Pacific/Kiritimati")
    end = datetime(9999, 12, 30, tzinfo=UTC)
    starts = list(bucket.starts(end - timedelta(days=30), end))
    assert starts[-1] == bucket.floor(end - MICROSECOND)

"""Local times in an import: `--tz`, and what is assumed without it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import OperationalError
from hypothesis import given
from hypothesis import strategies as st

from readings.ingest.csv_import import storing
from readings.ingest.csv_import.local_times import Times
from readings.ingest.payloads import InvalidReading
from readings.models import Reading
from readings.tests.imports import CASES, Outcome

NOW = datetime(2026, 12, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def converted(times: Times, *texts: str) -> list[str]:
    return [f"{times.moment(text, 'hall'):%m-%dT%H:%M}" for text in texts]


@pytest.mark.django_db
def test_the_case_with_both_changes_of_the_clock():
    outcome = Outcome(CASES / "local-times.csv", "--register", "--tz", "Europe/Berlin")
    assert not outcome.failure
    assert not outcome.problems
    assert outcome.said.splitlines()[1:] == [
        "First time: 2026-03-29T00:30:00.000000Z. Last time: 2026-10-25T00:30:00.000000Z.",
        "Times that occur twice, because the clock was put back: 1; 1 taken as the first and 0 as the second "
        "of the two, by the order of the rows.",
    ]
    times = Reading.objects.order_by("timestamp").values_list("timestamp", flat=True)
    assert [f"{time:%H:%M}" for time in times] == ["00:30", "01:30", "00:30"]


@pytest.mark.django_db
def test_without_a_zone_a_warning_says_what_was_assumed():
    outcome = Outcome(CASES / "local-times.csv", "--register")
    assert len(outcome.problems) == 1
    assert "such as '2026-03-29 01:30:00', are taken as UTC" in outcome.problems[0]
    assert "--tz Europe/Berlin" in outcome.problems[0]
    assert outcome.said.splitlines()[2] == "Times without an offset, taken as UTC: 3 (--tz names their zone)."


@pytest.mark.django_db
def test_there_is_none_where_nothing_was_assumed(bring):
    rows = "hall,2026-02-01T10:00:00Z,1\nhall,2026-02-01 11:00+01:00,2\nhall,1769940000,3\nhall,1769940000000,4\n"
    outcome = bring("device_id,timestamp,temperature\n" + rows, "--register")
    assert not outcome.problems
    assert len(outcome.said.splitlines()) == 2
    assert (
        outcome.said.splitlines()[1]
        == "First time: 2026-02-01T10:00:00.000000Z. Last time: 2026-02-01T10:00:00.000000Z."
    )


@pytest.mark.django_db
def test_a_time_that_does_not_exist_is_refused_by_its_line(bring):
    rows = "".join(f"hall,2026-03-29 {time},1\n" for time in ("01:59:59", "02:00:00", "02:59:59", "03:00:00"))
    outcome = bring("device_id,timestamp,temperature\n" + rows, "--register", "--tz", "Europe/Berlin")
    because = "does not exist in Europe/Berlin, because the clock was put forward over it."
    assert outcome.problems == [
        f"line 3: timestamp: 2026-03-29 02:00:00 {because}",
        f"line 4: timestamp: 2026-03-29 02:59:59 {because}",
    ]
    assert outcome.said.startswith("2 stored")


@pytest.mark.once
@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-02-01T10:00", "02-01T09:00"),
        ("2026-07-01 10:00:00", "07-01T08:00"),
        ("2026-07-01", "06-30T22:00"),
        ("01.07.2026 10:00", "07-01T08:00"),
        ("1.7.2026 9:05", "07-01T07:05"),
        ("2026/07/01 10:00:30", "07-01T08:00"),
        ("2026-07-01 10:00:00.123456789", "07-01T08:00"),
        # An offset is more than the zone.
        ("2026-07-01T10:00:00+05:30", "07-01T04:30"),
        ("2026-07-01 10:00:00 UTC", "07-01T10:00"),
        ("2026-07-01 10:00:00 +0200", "07-01T08:00"),
        ("1782892800", "07-01T08:00"),
        ("1782892800.5", "07-01T08:00"),
        ("1782892800000", "07-01T08:00"),
    ],
)
def test_the_forms_of_a_time(text, utc):
    assert converted(Times(now=NOW, zone=BERLIN), text) == [utc]


@pytest.mark.once
@pytest.mark.parametrize(
    "text",
    ["", "never", "-24h", "now", "10:00", "05/09/2026", "2026-13-01", "32.1.2026", "2026-05-09T25:00", "2026-05"],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InvalidReading, match="is not a time"):
        Times(now=NOW, zone=BERLIN).moment(text, "hall")


@pytest.mark.once
def test_an_hourly_file_tells_the_second_pass_by_the_repeated_time():
    times = Times(now=NOW, zone=BERLIN)
    hours = [f"2026-10-25 {hour:02}:00" for hour in (0, 1, 2, 2, 3, 4)]
    assert converted(times, *hours) == [
        f"10-{day}T{hour:02}:00" for day, hour in [(24, 22), (24, 23), *((25, n) for n in range(4))]
    ]
    assert (times.taken_as_first, times.taken_as_second) == (1, 1)


@pytest.mark.once
def test_a_file_that_repeats_its_times_tells_nothing_by_one_more():
    times = Times(now=NOW, zone=BERLIN)
    rows = ["2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 01:30", "2026-10-25 02:00", "2026-10-25 02:00"]
    assert converted(times, *rows)[3:] == ["10-25T00:00", "10-25T00:00"]


@pytest.mark.once
def test_each_device_has_an_order_of_its_own():
    times = Times(now=NOW, zone=BERLIN)
    texts = ["2026-10-25 01:30", "2026-10-25 02:30", "2026-10-25 02:15"]
    found = [f"{times.moment(text, device):%H:%M}" for text in texts for device in ("hall", "shed")]
    assert found == ["23:30", "23:30", "00:30", "00:30", "01:15", "01:15"]


CHANGES = st.sampled_from(
    [
        ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC), 60),
        ("America/New_York", datetime(2025, 11, 2, 6, tzinfo=UTC), 60),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC), 30),
        ("Africa/Casablanca", datetime(2026, 2, 15, 2, tzinfo=UTC), 60),
        ("Pacific/Apia", datetime(2020, 4, 4, 14, tzinfo=UTC), 60),
    ]
)


@pytest.mark.once
@given(change=CHANGES, minutes=st.integers(1, 60), offset=st.integers(0, 59), falling=st.booleans())
def test_a_file_in_order_comes_back_exactly(change, minutes, offset, falling):
    """Local times without an offset, at most as far apart as the clock was put back, mean what they meant."""
    name, changed, put_back = change
    step = timedelta(minutes=min(minutes, put_back))
    first = changed - timedelta(hours=3) + timedelta(minutes=offset)
    moments = [first + n * step for n in range(int(timedelta(hours=6) / step))]
    if falling:
        moments.reverse()
    times = Times(now=NOW, zone=ZoneInfo(name))
    texts = [f"{moment.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M:%S}" for moment in moments]
    assert [times.moment(text, "hall") for text in texts] == moments
    passes = put_back * 60 // step.seconds
    assert passes <= times.taken_as_first <= passes + 1
    assert passes <= times.taken_as_second <= passes + 1


@pytest.mark.once
@given(seconds=st.integers(86_400, 1_796_000_000), name=st.sampled_from(["Europe/Berlin", "America/Chicago"]))
def test_any_local_time_is_what_the_zone_says_or_refused(seconds, name):
    naive = (EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
    zone = ZoneInfo(name)
    aware = naive.replace(tzinfo=zone)
    exists = aware.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == naive
    times = Times(now=NOW, zone=zone)
    if exists:
        assert times.moment(naive.isoformat(" "), "hall") == aware.astimezone(UTC)
    else:
        with pytest.raises(InvalidReading, match="does not exist"):
            times.moment(naive.isoformat(" "), "hall")


@pytest.mark.django_db
def test_the_warning_comes_before_anything_is_stored(bring, monkeypatch):
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("the database went away")

    monkeypatch.setattr(storing, "record", fail)
    outcome = bring("device_id,timestamp,temperature\nhall,2026-07-01 10:00,1\nhall,2026-07-01 11:00,2\n", "--register")
    assert "the database went away" in outcome.failure
    assert [line[:36] for line in outcome.problems] == ["Warning: times without an offset, su"]

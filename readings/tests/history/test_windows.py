"""Parsing times and checking windows."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readings.history.parameters import UNIX_PATTERN
from readings.tests.logs import NOON, at
from readings.windows import (
    EARLIEST,
    LATEST,
    InvalidMoment,
    InvalidWindow,
    check_window,
    parse_moment,
    parse_unix_time,
)

pytestmark = pytest.mark.once

MOMENTS = st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC))
# In microseconds since 1970: 2001-01-01 to the end of 2100.
UNIX_TIMES = st.integers(978_307_200_000_000, 4_133_980_799_999_999)
OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# The characters of times, so that random texts are nearly valid; and all other characters.
GARBAGE = st.one_of(st.text(alphabet="0123456789-+:.TZtzW now smhdw٣²\x00\n", max_size=40), st.text())


def parsed(text: str) -> datetime:
    return parse_moment(text, now=NOON)


@given(GARBAGE)
@example("\ud800")
@example("2026-05-09\ud80012:00")
@example("-999999999w")
@example("+999999999w")
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59-23:59")
@example("9" * 5000)
@example("1970-01-01T00:00:00+00:00:00.000001")
def test_text_names_a_moment_of_the_calendar_or_is_refused(text):
    try:
        moment = parsed(text)
    except InvalidMoment:
        return
    assert EARLIEST <= moment <= LATEST
    assert moment.utcoffset() == timedelta(0)


@given(MOMENTS, OFFSETS)
def test_a_moment_is_read_as_it_was_written_in_any_offset(moment, offset):
    try:
        written = moment.astimezone(offset)
    except OverflowError:
        return
    assert parsed(written.isoformat()) == moment
    assert parsed(written.isoformat().replace("+", " ")) == moment


@given(UNIX_TIMES)
@example(978_307_200_000_000)
@example(4_133_980_799_999_999)
def test_unix_seconds_and_milliseconds_are_exact_to_the_microsecond(microseconds):
    moment = EARLIEST + timedelta(microseconds=microseconds)
    seconds, microsecond = divmod(microseconds, 1_000_000)
    assert parsed(f"{seconds}.{microsecond:06}") == moment
    assert parsed(str(seconds)) == moment.replace(microsecond=0)
    milliseconds, microsecond = divmod(microseconds, 1_000)
    assert parsed(f"{milliseconds}.{microsecond:03}") == moment
    assert parsed(str(milliseconds)) == moment - timedelta(microseconds=microsecond)


@pytest.mark.parametrize(
    "text",
    [
        *("2025", "202501", "20250101", "19580329", "20250101120", "20250101120000", "20250101120000.5"),
        *("45658", "45658.33", "45658,33", "20250101,12", "0", "1", "00", "2025.", "1.1.2025", "978307199"),
        *("4133980800", "978307199999", "4133980800000", "1778328000000000", "9" * 5000, "1" * 5000 + ".5"),
    ],
)
def test_other_digits_are_refused_with_the_text_and_a_form_that_works(text):
    for write in (str, " {} ".format):
        with pytest.raises(InvalidMoment) as refused:
            parsed(write(text))
        assert str(refused.value).startswith(text[:40])
        assert "of the years 2001 to 2100" in str(refused.value)
        assert len(str(refused.value)) < 200


@given(st.dates(date(1000, 1, 1)))
def test_a_date_written_without_separators_is_never_a_time_of_another_day(date):
    with pytest.raises(InvalidMoment):
        parsed(f"{date:%Y%m%d}")
    with pytest.raises(InvalidMoment):
        parsed(f"{date:%Y%m%d}000000")


@pytest.mark.parametrize("text", ["2001010100000Z", "202501011200+02:00", "2025-01-01012:00", "2025-01-01112"])
def test_a_digit_is_no_separator_of_date_and_time(text):
    with pytest.raises(InvalidMoment):
        parsed(text)


def test_thirteen_digits_are_milliseconds():
    assert parsed("2001010100000") == datetime(2033, 5, 29, 20, 8, 20, tzinfo=UTC)


@given(
    st.integers(978_307_000, 4_133_981_000).flatmap(
        lambda seconds: st.sampled_from([seconds, seconds * 1000, seconds // 10, seconds * 10, seconds * 10**6])
    ),
    st.sampled_from(["", ".5", ".123456789", ".1234567891", "."]),
)
@example(978_307_200, "")
@example(978_307_199, "")
@example(4_133_980_799, "")
@example(4_133_980_800, "")
@example(4_133_980_799_999, "")
def test_the_schema_has_a_pattern_for_exactly_these_numbers(number, fraction):
    text = f"{number}{fraction}"
    try:
        accepted = parse_unix_time(text) is not None
    except InvalidMoment:
        accepted = False
    assert accepted == bool(re.search(UNIX_PATTERN, text))


@given(st.sampled_from("smhdw"), st.integers(0, 999_999), st.sampled_from("+-"))
def test_a_relative_moment_counts_from_now(unit, count, sign):
    seconds = count * {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}[unit]
    try:
        expected = NOON + timedelta(seconds=-seconds if sign == "-" else seconds)
    except OverflowError:
        expected = None
    for text in (f"{sign}{count}{unit}", f"now{sign}{count}{unit}"):
        if expected is None or not EARLIEST <= expected <= LATEST:
            with pytest.raises(InvalidMoment):
                parsed(text)
        else:
            assert parsed(text) == expected


def test_now_is_now():
    assert parsed("now") == parsed("-0s") == NOON


@pytest.mark.parametrize(
    ("start", "end"), [(NOON, NOON), (at(0.000001), NOON), (NOON, NOON.astimezone(timezone(timedelta(hours=5))))]
)
def test_an_empty_or_backward_window_is_refused(start, end):
    with pytest.raises(InvalidWindow):
        check_window(start, end)


@pytest.mark.parametrize(("start", "end"), [(None, None), (NOON, None), (None, NOON), (NOON, at(0.000001))])
def test_a_window_may_be_a_microsecond_long_or_open(start, end):
    check_window(start, end)

"""Parsing times and checking windows."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from readings.tests.logs import NOON, at
from readings.windows import EARLIEST, LATEST, InvalidMoment, InvalidWindow, check_window, parse_moment

pytestmark = pytest.mark.once

MOMENTS = st.datetimes(EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None), timezones=st.just(UTC))
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


@given(MOMENTS)
def test_unix_seconds_are_exact_to_the_microsecond(moment):
    whole, micro = divmod((moment - EARLIEST) // timedelta(microseconds=1), 1_000_000)
    assert parsed(f"{whole}.{micro:06}") == moment
    assert parsed(str(whole)) == moment.replace(microsecond=0)


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

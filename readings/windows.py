"""Time windows of the API: half-open, `[start, end)`, in UTC."""

import re
from datetime import UTC, datetime, timedelta

from devices.times import rfc3339

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
RELATIVE = re.compile(r"(?:now)?(?:([+-])(\d{1,9})([smhdw]))?", re.ASCII)
# Digits without the separators of a date: a Unix time, or a date that must not be mistaken for one.
BARE_DIGITS = re.compile(r"\d[\d.,]*", re.ASCII)
UNIX_TIME = re.compile(r"(\d{9,10}|\d{12,13})(?:\.(\d{1,9}))?", re.ASCII)
UNIX_YEARS = range(2001, 2101)
# `datetime.fromisoformat` takes any character between date and time, also a digit: `2001010100000Z`.
DATE_RUNS_ON = re.compile(r"(?:\d{8}|\d{4}-\d\d-\d\d)\d", re.ASCII)
# `2026-05-09T10:00:00+02:00` in a URL, where an unescaped + arrives as a space.
LOST_PLUS = re.compile(r" (\d\d:\d\d)\Z")

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# One day before the largest datetime, so that no conversion to a time zone can overflow.
LATEST = datetime(9999, 12, 30, tzinfo=UTC)

FORMS = "RFC 3339 (2026-05-09T10:00:00Z), Unix seconds or milliseconds, or relative to now (-24h, -7d, now)"
OUTSIDE = "The time must lie in the years 1970 to 9999."
NOT_UNIX = (
    "{} is not a time: digits alone are Unix seconds or milliseconds of the years 2001 to 2100. "
    "Write a date with hyphens, such as 2026-05-09."
)


class InvalidMoment(ValueError):
    """The text is not a valid time, or the time is outside 1970 to 9999."""


class InvalidWindow(ValueError):
    """The end of the window is not after its start."""


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Parses a time in one of the FORMS, to UTC. A text without a time zone is UTC. Raises InvalidMoment."""
    text = text.strip()
    if (unix_time := parse_unix_time(text)) is not None:
        return unix_time
    try:
        if text and (match := RELATIVE.fullmatch(text)):
            sign, count, unit = match.groups()
            seconds = int(count) * UNITS[unit] if unit else 0
            moment = now + timedelta(seconds=-seconds if sign == "-" else seconds)
        elif DATE_RUNS_ON.match(text):
            raise ValueError
        else:
            moment = datetime.fromisoformat(LOST_PLUS.sub(r"+\1", text.upper()))
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError as error:
        raise InvalidMoment(OUTSIDE) from error
    except ValueError as error:
        raise InvalidMoment(f"Write {FORMS}.") from error
    if not EARLIEST <= moment <= LATEST:
        raise InvalidMoment(OUTSIDE)
    return moment


def parse_unix_time(text: str) -> datetime | None:
    """Parses a text of digits alone: Unix seconds or milliseconds, with or without a fraction; None for another text.

    Raises InvalidMoment unless it lies in the years 2001 to 2100, because `20250101`, `2025` and the 45658.33 of a
    spreadsheet would otherwise be times in 1970. In these years seconds and milliseconds cannot be confused.
    """
    if not BARE_DIGITS.fullmatch(text):
        return None
    if match := UNIX_TIME.fullmatch(text):
        whole, fraction = match.groups(default="")
        # In whole microseconds, because `fromtimestamp(float)` is not exact.
        places = 6 if len(whole) <= 10 else 3
        moment = EARLIEST + timedelta(microseconds=int(whole + fraction[:places].ljust(places, "0")))
        if moment.year in UNIX_YEARS:
            return moment
    raise InvalidMoment(NOT_UNIX.format(text if len(text) <= 40 else text[:40] + "…"))


def check_window(start: datetime | None, end: datetime | None) -> None:
    """Raises InvalidWindow unless `start < end`. None means that this side is open."""
    if start is not None and end is not None and start >= end:
        raise InvalidWindow(f"The window is empty: end ({rfc3339(end)}) must be after start ({rfc3339(start)}).")

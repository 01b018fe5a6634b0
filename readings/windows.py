"""Time windows of the API: half-open, `[start, end)`, in UTC."""

import re
from datetime import UTC, datetime, timedelta

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
RELATIVE = re.compile(r"(?:now)?(?:([+-])(\d{1,9})([smhdw]))?", re.ASCII)
UNIX_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
# `2026-05-09T10:00:00+02:00` in a URL, where an unescaped + arrives as a space.
LOST_PLUS = re.compile(r" (\d\d:\d\d)\Z")

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# One day before the largest datetime, so that no conversion to a time zone can overflow.
LATEST = datetime(9999, 12, 30, tzinfo=UTC)

FORMS = "RFC 3339 (2026-05-09T10:00:00Z), Unix seconds, or relative to now (-24h, -7d, now)"
OUTSIDE = "The time must lie in the years 1970 to 9999."


class InvalidMoment(ValueError):
    """The text is not a valid time, or the time is outside 1970 to 9999."""


class InvalidWindow(ValueError):
    """The end of the window is not after its start."""


def parse_moment(text: str, *, now: datetime) -> datetime:
    """Parses a time in one of the FORMS, to UTC. A text without a time zone is UTC. Raises InvalidMoment."""
    text = text.strip()
    try:
        if text and (match := RELATIVE.fullmatch(text)):
            sign, count, unit = match.groups()
            seconds = int(count) * UNITS[unit] if unit else 0
            moment = now + timedelta(seconds=-seconds if sign == "-" else seconds)
        elif UNIX_SECONDS.fullmatch(text):
            # Exact to the microsecond; `fromtimestamp(float)` is not.
            whole, _, fraction = text.partition(".")
            moment = EARLIEST + timedelta(seconds=int(whole), microseconds=int(fraction[:6].ljust(6, "0") or 0))
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


def check_window(start: datetime | None, end: datetime | None) -> None:
    """Raises InvalidWindow unless `start < end`. None means that this side is open."""
    if start is not None and end is not None and start >= end:
        raise InvalidWindow(f"The window is empty: end ({end.isoformat()}) must be after start ({start.isoformat()}).")

"""Windows of time as the API takes them: half-open, `[start, end)`, in UTC."""

import re
from datetime import UTC, datetime, timedelta

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
RELATIVE = re.compile(r"(?:now)?(?:([+-])(\d{1,9})([smhdw]))?", re.ASCII)
UNIX_SECONDS = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
# `2026-05-09T10:00:00+02:00` in a URL, where an unescaped + arrives as a space.
LOST_PLUS = re.compile(r" (\d\d:\d\d)\Z")

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
# A day short of the largest datetime, so that no time zone can push it over.
LATEST = datetime(9999, 12, 30, tzinfo=UTC)

FORMS = "RFC 3339 (2026-05-09T10:00:00Z), Unix seconds, or relative to now (-24h, -7d, now)"
OUTSIDE = "The moment lies outside 1970 to 9999."


class InvalidMoment(ValueError):
    """The text names no moment between 1970 and 9999."""


class InvalidWindow(ValueError):
    """The window is empty or runs backward."""


def parse_moment(text: str, *, now: datetime) -> datetime:
    """The moment, in UTC, that `text` names; without a time zone it is UTC. Raises InvalidMoment."""
    text = text.strip()
    try:
        if text and (match := RELATIVE.fullmatch(text)):
            sign, count, unit = match.groups()
            seconds = int(count) * UNITS[unit] if unit else 0
            moment = now + timedelta(seconds=-seconds if sign == "-" else seconds)
        elif UNIX_SECONDS.fullmatch(text):
            # Exact to the microsecond, where `fromtimestamp(float)` is not.
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
    """Raises InvalidWindow unless `start < end`; None is an open side."""
    if start is not None and end is not None and start >= end:
        raise InvalidWindow(f"The window is empty: end ({end.isoformat()}) must be after start ({start.isoformat()}).")

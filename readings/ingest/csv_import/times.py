"""Reads times that can mean only one thing, and proposes formats for others."""

import re
from datetime import datetime

from readings.windows import DATE_RUNS_ON, EARLIEST, parse_unix_time

TIME_OF_DAY = r"(?:[T ] *\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d))?)?"
# 1.2.2026 10:00: the day is first wherever dates have points.
DAY_FIRST = re.compile(rf"(\d{{1,2}})\.(\d{{1,2}})\.(\d{{4}})({TIME_OF_DAY})", re.ASCII)
YEAR_FIRST = re.compile(rf"(\d{{4}})[/.](\d{{1,2}})[/.](\d{{1,2}})({TIME_OF_DAY})", re.ASCII)
# Longer texts are refused at once: searching ONE_DIGIT_HOUR in many spaces takes quadratic time.
TIME_CHARACTERS_MAX = 100
ONE_DIGIT_HOUR = re.compile(r"[T ] *(\d:)", re.ASCII)
# Formats to propose. Slashes and words can mean several things, so these times are not accepted without the option.
FORMATS = (
    "%Y%m%d",
    "%Y%m%d%H%M",
    "%Y%m%d%H%M%S",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%b %d %Y",
    "%d %b %Y",
    "%B %d, %Y",
    "%a %b %d %H:%M:%S %Y",
    "%Y-%m",
    "%b %Y",
    "%Y",
)


def parse_time(text: str) -> datetime:
    """Parses a time, but not a relative one, because that depends on the time of the import. Naive without an offset.

    Raises ValueError or OverflowError, for bare digits that are no Unix time InvalidMoment.
    """
    if len(text) > TIME_CHARACTERS_MAX:
        raise ValueError(text)
    if text[4:5] == "-" and text[:4].isdecimal():  # the most frequent case
        return iso(text)
    if match := DAY_FIRST.fullmatch(text):
        day, month, year, time = match.groups()
        return iso(f"{year}-{month:0>2}-{day:0>2}{time}")
    if match := YEAR_FIRST.fullmatch(text):
        year, month, day, time = match.groups()
        return iso(f"{year}-{month:0>2}-{day:0>2}{time}")
    if (moment := parse_unix_time(text)) is not None:
        return moment
    if not text[:4].isdecimal():
        raise ValueError(text)
    return iso(text)


def iso(text: str) -> datetime:
    if DATE_RUNS_ON.match(text):
        raise ValueError(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(ONE_DIGIT_HOUR.sub(r" 0\1", text).replace(" UTC", "+00:00").replace(" +", "+"))


def is_time(text: str) -> bool:
    """Whether the import reads this text as a time."""
    try:
        parse_time(text)
    except (ValueError, OverflowError):
        return False
    return True


def proposed_format(texts: list[str]) -> str:
    """The first of FORMATS that fits all these texts; empty if there is none."""
    for time_format in FORMATS:
        try:
            for text in texts:
                if not EARLIEST.year - 70 <= datetime.strptime(text, time_format).year <= 2100:  # noqa: DTZ007
                    raise ValueError(text)
        except ValueError:
            continue
        return time_format
    return ""

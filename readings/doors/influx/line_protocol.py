r"""The grammar of InfluxDB's line protocol: `measurement,tag=value field=1,other=2 1700000000000000000`.

It accepts what InfluxDB's own parser accepts: a comma, space or equals sign after a backslash belongs to the name; only
a field's value may be quoted, and only in quotes may it have line ends. See InfluxDB's "Line protocol reference".
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from devices.metrics import LARGEST_EXACT_INTEGER, LARGEST_VALUE
from readings.doors.influx.quick_fields import quick_fields
from readings.doors.translation import NAME, RANGE, TEXT

INTEGER = re.compile(r"-?[0-9]{1,20}")
FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
TIME = re.compile(r"-?[0-9]{1,19}")
BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), 1),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), 0),
}
NO_NUMBERS = ("nan", "inf", "infinity")
INT64 = range(-(2**63), 2**63)
UINT64 = range(2**64)
# A delimiter after a backslash belongs to the name.
SPACE = re.compile(r"(?<!\\) ")
COMMA = re.compile(r"(?<!\\),")
EQUALS = re.compile(r"(?<!\\)=")
ESCAPED = re.compile(r"\\([,= ])")
QUOTES = re.compile(r'\\.|"', re.DOTALL)
# A field with a name, and a value in quotes or without. Neither has two ways to match, so it takes linear time.
FIELD = re.compile(r'((?:[^\\,= ]|\\.?)*)=(?:"((?:[^"\\]|\\.)*)"|([^, "]*))', re.DOTALL)


class InvalidLine(ValueError):
    """The line does not follow the grammar. Its text says why, in InfluxDB's words."""


class Line(NamedTuple):
    """`series`: measurement and tags, still encoded. `time`: in the unit of the request; None if the line has none.

    `values`: the numbers by the name of their field. `skipped`: name and code of the fields that are no metrics.
    """

    series: str
    values: dict[str, float]
    skipped: list[tuple[str, str]]
    time: int | None


def lines_of(text: str) -> Iterator[str]:
    """The lines, also empty ones and comments. A line with an open quote takes in the following lines until it ends."""
    lines = text.split("\n")
    if '"' not in text:
        yield from lines
        return
    place = 0
    while place < len(lines):
        end = end_of(lines, place)
        yield "\n".join(lines[place:end])
        yield from [""] * (end - place - 1)  # so that the numbers of the lines stay
        place = end


def end_of(lines: list[str], start: int) -> int:
    """The index after the last line of the entry that begins at `start`."""
    first = lines[start].lstrip(" \t")
    if '"' not in first or first.startswith("#"):
        return start + 1
    space = SPACE.search(first)
    quoted = space is not None and opens(first[space.end() :])
    end = start + 1
    while quoted and end < len(lines):
        quoted ^= opens(lines[end])
        end += 1
    # A quote that never ends costs its own line, not all that follow.
    return start + 1 if quoted else end


def opens(text: str) -> bool:
    """Whether the text has an odd number of quotes that are not escaped."""
    if "\\" not in text:
        return text.count('"') % 2 == 1
    return QUOTES.findall(text).count('"') % 2 == 1


def parse_line(line: str) -> Line:
    """Parses a line that is neither empty nor a comment, without spaces around it. Raises InvalidLine."""
    parts = line.split(" ")
    count = len(parts)
    if (count == 3 or count == 2) and (values := quick_fields(parts[1])) is not None and not line.count("\\"):
        return Line(parts[0], values, [], moment(parts[2]) if count == 3 else None)
    space = SPACE.search(line)
    if space is None:
        raise InvalidLine("missing fields")
    place = space.end()
    while line.startswith(" ", place):
        place += 1
    values, skipped, place = parse_fields(line, place)
    rest = line[place:].strip(" ")
    return Line(line[: space.start()], values, skipped, moment(rest) if rest else None)


def parse_fields(line: str, place: int) -> tuple[dict[str, float], list[tuple[str, str]], int]:
    """The `values` and `skipped` of a Line whose fields begin at `place`, and where they end. Raises InvalidLine."""
    values: dict[str, float] = {}
    skipped: list[tuple[str, str]] = []
    while True:
        field = FIELD.match(line, place)
        if field is None or not field[1]:
            named = field is None and line[place : place + 1] not in ("", ",", " ")
            raise InvalidLine("invalid field format" if named else "missing field key")
        name = ESCAPED.sub(r"\1", field[1])
        if field[2] is not None:
            skipped.append((name, TEXT))
        elif not field[3] and line.startswith('"', field.end()):
            raise InvalidLine("unbalanced quotes")
        elif not -LARGEST_VALUE <= (value := number(field[3])) <= LARGEST_VALUE:
            skipped.append((name, RANGE))
        else:
            if name in values:
                skipped.append((name, NAME))
            values[name] = value
        place = field.end()
        following = line[place : place + 1]
        if following in ("", " "):
            return values, skipped, place
        if following != ",":
            raise InvalidLine("unbalanced quotes" if following == '"' else "invalid field format")
        place += 1


def number(text: str) -> float:
    """The value of a field without quotes: a float, an integer (`1i`, `1u`) or a boolean. Raises InvalidLine.

    A whole number up to LARGEST_EXACT_INTEGER is an int, also if it was sent as a float (`21`), so that it is shown
    like that. -0.0 becomes 0.0.
    """
    if FLOAT.fullmatch(text):
        return exact(int(text)) if text.lstrip("-").isdecimal() and len(text) < 19 else float(text) + 0.0
    end = text[-1:]
    if end in ("i", "u") and INTEGER.fullmatch(text, 0, len(text) - 1):
        value = int(text[:-1])
        if value not in (INT64 if end == "i" else UINT64):
            raise InvalidLine("value out of range")
        return exact(value)
    if (truth := BOOLEANS.get(text)) is not None:
        return truth
    if not text:
        raise InvalidLine("missing field value")
    raise InvalidLine(
        "invalid number" if text[0] in "+-.0123456789" or text.lower() in NO_NUMBERS else "invalid boolean"
    )


def exact(value: int) -> float:
    return value if -LARGEST_EXACT_INTEGER <= value <= LARGEST_EXACT_INTEGER else float(value)


def moment(text: str) -> int:
    if not TIME.fullmatch(text):
        raise InvalidLine("bad timestamp")
    return int(text)


def parse_series(series: str) -> tuple[str, dict[str, str]]:
    """The measurement and the tags. Raises InvalidLine."""
    escaped = "\\" in series
    measurement, *pairs = COMMA.split(series) if escaped else series.split(",")
    if not measurement:
        raise InvalidLine("missing measurement")
    tags: dict[str, str] = {}
    for pair in pairs:
        name, *values = EQUALS.split(pair) if escaped else pair.split("=")
        if not name:
            raise InvalidLine("missing tag key")
        if not values or not values[0]:
            raise InvalidLine("missing tag value")
        if len(values) > 1:
            raise InvalidLine("invalid tag format")
        if escaped:
            name, values = ESCAPED.sub(r"\1", name), [ESCAPED.sub(r"\1", values[0])]
        if name in tags:
            raise InvalidLine("duplicate tags")
        tags[name] = values[0]
    return ESCAPED.sub(r"\1", measurement) if escaped else measurement, tags

"""Joins the lines of a request to readings: lines of one device and one time are one reading.

May run in a thread of `devices.cpu_pool`, so nothing here uses the request.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from rest_framework import status
from rest_framework.exceptions import APIException

from devices.api.json import body_refusal
from devices.cpu_pool import Pauses
from readings import instruments
from readings.doors.influx.line_protocol import InvalidLine, lines_of, parse_line
from readings.doors.influx.quick_lines import Columns, quick_lines
from readings.doors.influx.series import Series, metrics_of, series_of
from readings.doors.times import Receipt
from readings.doors.translation import NAME, Skipped, identity_text, reading_of
from readings.ingest.decoding import Posted
from readings.ingest.payloads import InvalidReading
from readings.ingest.way import Format
from readings.log.entries import Refusal
from readings.log.ids import derived_ids

# Maximum number of lines of one request, empty ones included. Clients send 1,000 to 5,000.
LINES_MAX = 10_000
# Characters of a bad line that the answer quotes.
QUOTED_CHARACTERS = 80
# Lines that are decoded, and points that become readings, between two pauses: so many take about a millisecond.
QUICK_LINES = 250
INVALID_LINE = "invalid_line"
WHITESPACE = " \t\r\0"


class TooManyLines(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_many_lines"
    default_detail = f"A request may have at most {LINES_MAX} lines. Send them in parts."


class JoinedLines(Posted):
    """The readings of a request, each with its lines, and the lines that cannot be read.

    `lines`: for each outcome the numbers of its lines, from 1. `quoted`: the beginning of each line that cannot be
    read, by number. `skipped`: the device and the value.
    """

    lines: list[Sequence[int]] = []
    quoted: dict[int, str] = {}
    skipped: list[tuple[str, Skipped]] = []


class Point(msgspec.Struct):
    """The values of one device and time, by metric name, and the numbers of the lines."""

    device_id: str
    time_ns: int | None
    values: dict[str, float]
    lines: list[int]


def is_light(body: bytes) -> bool:
    """Whether parsing the body takes a few milliseconds at most: 64 KiB with 1,000 lines and fields."""
    return len(body) <= 64 * 1024 and count_lines(body) + body.count(b",") <= 1_000


def count_lines(body: bytes) -> int:
    """At least the number of readings in the body."""
    return body.count(b"\n") + 1


LINES = Format(is_light=is_light, count=count_lines)


def join_lines(
    body: bytes, refused: str, *, unit_ns: int, device_id: str | None, device_tags: Sequence[str], received_at: datetime
) -> JoinedLines:
    """Parses the lines of a body. `refused` as in `readings.ingest.decoding.decode_reading`.

    `unit_ns`: nanoseconds of the unit of the times. `device_id`: the device of the key; None if the first of
    `device_tags` that a line has names its device. Raises TooManyLines and the errors of `body_refusal`.
    """
    if refused:
        raise body_refusal(refused)
    if count_lines(body) > LINES_MAX + 1:  # the last line may end with a line end
        raise TooManyLines
    joiner = Joiner(unit_ns, device_id, device_tags)
    pauses = Pauses()
    # Other encodings than UTF-8 are not refused, because only names can be affected, and those become ASCII.
    lines = list(lines_of(body.decode("utf-8-sig", "replace").removesuffix("\n")))
    for start in range(0, len(lines), QUICK_LINES):
        part = lines[start : start + QUICK_LINES]
        if (columns := quick_lines(part)) is not None:
            joiner.add_quick(start + 1, part, columns)
        else:
            for number, text in enumerate(part, start + 1):
                line = text.strip(WHITESPACE)
                if line and not line.startswith("#"):
                    joiner.add(number, line)
                pauses.pause()
        pauses.pause()
    return joiner.joined(Receipt(received_at))


class Joiner:
    def __init__(self, unit_ns: int, device_id: str | None, device_tags: Sequence[str]) -> None:
        self.unit_ns = unit_ns
        self.device_id = device_id
        self.device_tags = tuple(device_tags)
        self.points: dict[tuple[str, int | None], Point] = {}
        self.result = JoinedLines([], {}, None, [], {}, [])

    def add(self, number: int, line: str) -> None:
        """Adds the values of a line to the point of its device and time."""
        try:
            encoded, values, skipped, time = parse_line(line)
            series = series_of(encoded, self.device_id, self.device_tags)
        except InvalidLine as error:
            self.refuse_line(number, line, error)
            return
        self.join(number, series, values, time, skipped)

    def add_quick(self, number: int, lines: Sequence[str], columns: Columns) -> None:
        """Adds the values of lines that were decoded together. `number`: of the first line."""
        for place, (encoded, values, time) in enumerate(zip(*columns, strict=True)):
            try:
                series = series_of(encoded, self.device_id, self.device_tags)
            except InvalidLine as error:
                self.refuse_line(number + place, lines[place], error)
            else:
                self.join(number + place, series, values, time, ())

    def join(
        self,
        number: int,
        series: Series,
        values: dict[str, float],
        time: int | None,
        skipped: Sequence[tuple[str, str]],
    ) -> None:
        if series.problem is not None:
            self.refuse(number, series.problem)
            return
        device_id = series.device_id
        if skipped:
            self.result.skipped += [(device_id, Skipped(name, code)) for name, code in skipped]
        metrics = metrics_of(series.measurement, tuple(values))
        point = self.points.get((device_id, time))
        if point is None:
            time_ns = None if time is None else time * self.unit_ns
            point = self.points[device_id, time] = Point(device_id, time_ns, {} if metrics else values, [number])
            if metrics is None:
                return
            point.lines.clear()
        point.lines.append(number)
        for (name, value), metric in zip(values.items(), metrics or values, strict=True):
            if metric in point.values:
                self.result.skipped.append((device_id, Skipped(name, NAME)))
            point.values[metric] = value

    def refuse_line(self, number: int, line: str, error: InvalidLine) -> None:
        self.result.quoted[number] = line[:QUOTED_CHARACTERS]
        self.refuse(number, Refusal("", INVALID_LINE, str(error)))

    def refuse(self, number: int, refusal: Refusal) -> None:
        self.result.outcomes.append(refusal)
        self.result.lines.append((number,))

    def joined(self, receipt: Receipt) -> JoinedLines:
        """The readings, dated and with ids; and what was refused."""
        result = self.result
        points = [point for point in self.points.values() if point.values]
        pauses = Pauses()
        for start in range(0, len(points), QUICK_LINES):
            part = points[start : start + QUICK_LINES]
            for point, reading_id in zip(part, ids_of(part), strict=True):
                try:
                    timestamp = receipt.measured_at(point.time_ns)
                    outcome = reading_of(point.device_id, timestamp, reading_id, point.values)
                except InvalidReading as error:
                    outcome = error.refusal
                if isinstance(outcome, Refusal):
                    result.named[len(result.outcomes)] = point.device_id
                result.outcomes.append(outcome)
                result.lines.append(point.lines)
            pauses.pause()
        codes = Counter(outcome.code for outcome in result.outcomes if isinstance(outcome, Refusal))
        for code, count in codes.items():
            instruments.REJECTED.labels(code).inc(count)
        return result


def ids_of(points: Sequence[Point]) -> list[UUID | None]:
    """The ids that are derived for points with a time; None for the others."""
    timed = [(point, point.time_ns) for point in points if point.time_ns is not None]
    texts = [identity_text(point.device_id, time_ns, point.values) for point, time_ns in timed]
    ids = derived_ids(texts, [time_ns // 1_000_000 for _, time_ns in timed])
    if len(timed) == len(points):
        return list(ids)
    remaining = iter(ids)
    return [None if point.time_ns is None else next(remaining) for point in points]

"""Joins the lines of a request to readings: lines of one device and one time are one reading.

May run in a thread of `devices.cpu_pool`, so nothing here uses the request.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from rest_framework import status
from rest_framework.exceptions import APIException

from devices.api.json_decoding import body_refusal
from devices.cpu_pool import Pauses
from readings import instruments
from readings.doors.influx.line_protocol import InvalidLine, lines_of, parse_line
from readings.doors.influx.quick_lines import Columns, quick_lines
from readings.doors.influx.series import Series, metrics_of, series_of
from readings.doors.times import Receipt
from readings.doors.translation import NAME, Skipped, identities, reading_of
from readings.ingest.decoding import Posted
from readings.ingest.way import Format
from readings.log.entries import Refusal

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


class Points:
    """The values of each device and time. The lists have one item for each point, in the order of the first lines.

    `times`: in nanoseconds since 1970; None: no time was sent. `values`: by metric name. `lines`: their numbers.
    `places`: the index of the point of a device and a time, which is in the unit of the request. Lists, because an
    object for each point takes as long as decoding it.
    """

    def __init__(self) -> None:
        self.devices: list[str] = []
        self.times: list[int | None] = []
        self.values: list[dict[str, float]] = []
        self.lines: list[Sequence[int]] = []
        self.places: dict[tuple[str, int | None], int] = {}

    def add(self, key: tuple[str, int | None], time_ns: int | None, values: dict[str, float], number: int) -> None:
        """Adds the point of a new key, with its first line."""
        self.places[key] = len(self.devices)
        self.devices.append(key[0])
        self.times.append(time_ns)
        self.values.append(values)
        self.lines.append((number,))

    def lines_of(self, place: int) -> list[int]:
        """The numbers of the lines of a point, to add one to. Most points have a single line, and keep a tuple."""
        lines = self.lines[place]
        if not isinstance(lines, list):
            lines = self.lines[place] = list(lines)
        return lines

    def leave_out_empty(self) -> None:
        """Leaves out the points without values. Afterwards no more can be added."""
        if all(self.values):
            return
        kept = [place for place, values in enumerate(self.values) if values]
        self.devices, self.times, self.values, self.lines = (
            [self.devices[place] for place in kept],
            [self.times[place] for place in kept],
            [self.values[place] for place in kept],
            [self.lines[place] for place in kept],
        )


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
        self.series: dict[str, Series] = {}
        self.points = Points()
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
        points, places, unit_ns, known = self.points, self.points.places, self.unit_ns, self.series
        measurement: str | None = None
        names: tuple[str, ...] = ()
        renamed = False
        for place, (encoded, values, time) in enumerate(zip(*columns, strict=True), number):
            series = known.get(encoded)
            if series is None:
                try:
                    series = known[encoded] = series_of(encoded, self.device_id, self.device_tags)
                except InvalidLine as error:
                    self.refuse_line(place, lines[place - number], error)
                    continue
            # Lines that follow one another usually have the same fields.
            if names != (sent := tuple(values)) or measurement != series.measurement:
                measurement, names = series.measurement, sent
                renamed = metrics_of(measurement, names) is not None
            key = series.device_id, time
            if renamed or series.problem is not None or key in places:
                self.join(place, series, values, time, ())
            else:
                points.add(key, time * unit_ns, values, place)

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
        key = device_id, time
        place = self.points.places.get(key)
        if place is None:
            place = len(self.points.devices)
            time_ns = None if time is None else time * self.unit_ns
            self.points.add(key, time_ns, {} if metrics else values, number)
            if metrics is None:
                return
        else:
            self.points.lines_of(place).append(number)
        joined = self.points.values[place]
        for (name, value), metric in zip(values.items(), metrics or values, strict=True):
            if metric in joined:
                self.result.skipped.append((device_id, Skipped(name, NAME)))
            joined[metric] = value

    def refuse_line(self, number: int, line: str, error: InvalidLine) -> None:
        self.result.quoted[number] = line[:QUOTED_CHARACTERS]
        self.refuse(number, Refusal("", INVALID_LINE, str(error)))

    def refuse(self, number: int, refusal: Refusal) -> None:
        self.result.outcomes.append(refusal)
        self.result.lines.append((number,))

    def joined(self, receipt: Receipt) -> JoinedLines:
        """The readings, dated and with ids; and what was refused."""
        result, points = self.result, self.points
        points.leave_out_empty()
        pauses = Pauses()
        for start in range(0, len(points.devices), QUICK_LINES):
            part = slice(start, start + QUICK_LINES)
            devices, times, values = points.devices[part], points.times[part], points.values[part]
            dated = receipt.each_measured_at(times)
            ids = identities(devices, times, values)  # before the values become readings, which takes them apart
            for device_id, timestamp, reading_id, of_point in zip(devices, dated, ids, values, strict=True):
                outcome = (
                    timestamp
                    if isinstance(timestamp, Refusal)
                    else reading_of(device_id, timestamp, reading_id, of_point)
                )
                if isinstance(outcome, Refusal):
                    result.named[len(result.outcomes)] = device_id
                result.outcomes.append(outcome)
            result.lines += points.lines[part]
            pauses.pause()
        codes = Counter(outcome.code for outcome in result.outcomes if isinstance(outcome, Refusal))
        for code, count in codes.items():
            instruments.REJECTED.labels(code).inc(count)
        return result

"""Exports the readings of devices as CSV: the whole window, page by page, in constant memory."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from itertools import repeat

import msgspec
from asgiref.sync import sync_to_async
from django.db import connection

from devices.api.compression import Compressor
from devices.api.csv_cells import quoted
from devices.cpu_pool import Pauses
from devices.metrics import COLUMNS, Catalogue
from devices.times import rfc3339
from readings.log import reader
from readings.log.entries import StoredReading
from readings.log.reader import Position, Window
from readings.log.reading.opened import Opened
from readings.log.reading.rows import WHOLE, Row, stored_readings
from readings.log.segments.sealed import MICROSECOND, SEGMENT_READINGS_MAX
from readings.log.segments.values import Number
from readings.windows import EARLIEST

# Rows of a statement.
PAGE_READINGS = 2000
# Of what is sealed, a statement finds the readings of up to so many segments: 8,000 or more, lines of 1 MB. Fewer
# if they have more cells of metrics. More than one, because each statement decodes a segment of late readings again.
PAGE_SEGMENTS, PAGE_CELLS = 4, 65_536
# Lines per piece that is sent; 250 of the widest lines are 100 KB.
PIECE_READINGS = 250
EPOCH_DAY = EARLIEST.toordinal()
# In microseconds.
HOUR = 3_600_000_000
# The rest of a time but for its fraction, for each second of an hour.
SECONDS_OF_HOUR = [f"{minute:02}:{second:02}." for minute in range(60) for second in range(60)]
# So often the values of a column must occur on average, so that looking up a text is quicker than formatting each.
REPEATED = 2
IDENTIFYING = ("id", "seq", "device_id", "timestamp")


class Layout(msgspec.Struct, frozen=True):
    """How the file is laid out. `time_cell` formats the timestamps: `rfc3339` or `local_time`.

    Wide: a line for each reading, with a column for each of `metrics`. Long: a line for each value. With a `catalogue`,
    the columns of metrics are headed with labels and units instead of names.

    Every cell but these headings is a number, an id, a name or a time, so none needs quotes and no spreadsheet sees a
    formula.
    """

    metrics: Sequence[str]
    time_cell: Callable[[datetime], str]
    long: bool = False
    catalogue: Catalogue | None = None

    def header(self) -> bytes:
        names: Sequence[str] = ("metric", "value") if self.long else self.metrics
        if self.catalogue and not self.long:
            names = [quoted(self.catalogue.heading(name)) for name in self.metrics]
        return (",".join((*IDENTIFYING, *names)) + "\r\n").encode()

    @property
    def columns(self) -> Mapping[str, str]:
        """For `reader.chunk`, which reads the log in the form of lines."""
        return WHOLE

    def of_rows(self, device_id: str, rows: Sequence[Row]) -> list[str]:
        return self.lines(stored_readings(device_id, rows))

    def of_segment(self, segment: Opened, places: Sequence[int]) -> list[str]:
        """As `lines`, but column by column, in a third of the time."""
        if self.long:
            return self.lines(segment.readings(places))
        if self.time_cell is rfc3339:
            times: Iterable[str] = rfc3339_of(list(map(segment.times.__getitem__, places)))
        else:
            times = map(self.time_cell, segment.moments(places))
        seqs = map(str, map(segment.seqs.__getitem__, places))
        columns = [segment.id_texts(places), seqs, repeat(segment.device_id), times]
        columns += [cells_of(segment, name, places) for name in self.metrics]
        segment.pauses.pause()
        return [f"{line}\r\n" for line in map(",".join, zip(*columns, strict=False))]

    def lines(self, readings: Sequence[StoredReading]) -> list[str]:
        """The line of each reading; in the long form all of its lines."""
        places = {name: place for place, name in enumerate(self.metrics)}
        pauses = Pauses()
        lines = []
        for reading in readings:
            time = self.time_cell(reading.timestamp)
            lines.append(csv_values(reading, places, time) if self.long else csv_line(reading, places, time))
            pauses.pause()
        return lines


async def csv_lines(
    logs: Sequence[Window], layout: Layout, *, descending: bool, compressor: Compressor | None = None
) -> AsyncIterator[bytes]:
    """Yields the header, then pieces of lines, one log after the other.

    Async, because ASGI would collect a sync generator in memory first. The lines are formatted in the request's thread,
    because formatting a page of wide lines would block the event loop for too long. With a `compressor` the pieces are
    compressed in that thread too.
    """
    header = layout.header()
    yield compressor.piece(header) if compressor else header
    for log in logs:
        beyond: Position | None = None
        while True:
            page = sync_to_async(page_of)
            pieces, beyond = await page(log, layout, descending=descending, beyond=beyond, compressor=compressor)
            for piece in pieces:
                yield piece
            if beyond is None:
                break
    if compressor:
        yield compressor.end()


def page_of(
    log: Window,
    layout: Layout,
    *,
    descending: bool = False,
    beyond: Position | None = None,
    compressor: Compressor | None = None,
) -> tuple[list[bytes], Position | None]:
    """The lines of the next readings in pieces, and the position after which others follow; None if none do.

    Closes the connection after the query, because a slow client must not hold a connection that others need.
    """
    fitting = PAGE_CELLS // (SEGMENT_READINGS_MAX * max(1, len(layout.metrics)))
    segments = max(1, min(fitting, PAGE_SEGMENTS))
    try:
        chunk = reader.chunk(log, layout, limit=PAGE_READINGS, segments=segments, descending=descending, beyond=beyond)
    finally:
        if not connection.in_atomic_block:
            connection.close()
    pieces = []
    for first in range(0, len(chunk.found), PIECE_READINGS):
        piece = "".join(chunk.found[first : first + PIECE_READINGS]).encode()
        pieces.append(compressor.piece(piece) if compressor else piece)
    return pieces, chunk.following


def csv_line(reading: StoredReading, places: dict[str, int], time: str) -> str:
    """One line with each metric in its column. `places` maps the name of a metric to its column."""
    cells = [""] * len(places)
    for name in COLUMNS:
        if name in places and (value := getattr(reading, name)) is not None:
            cells[places[name]] = repr(value)
    for name, value in reading.extra.items():
        if name in places:
            cells[places[name]] = repr(value)
    return f"{reading.id},{reading.seq},{reading.device_id},{time},{','.join(cells)}\r\n"


def cells_of(segment: Opened, name: str, places: Sequence[int]) -> Iterable[str]:
    """The cells of a metric at these places of the segment."""
    if not segment.has(name):
        return repeat("")
    return texts_of(list(map(segment.metric(name).__getitem__, places)))


def texts_of(values: Sequence[Number | None]) -> list[str]:
    """As `repr` of each, empty for None. Values repeat in most columns, so each different one is formatted once."""
    different = set(values)
    # Of equal values with different texts, 1 and 1.0 or 0.0 and -0.0, a set has only one.
    alike = 0 not in different and len(set(map(type, values)) - {type(None)}) < 2
    if alike and len(different) < len(values) / REPEATED:
        texts = {value: repr(value) for value in different} | {None: ""}
        return [texts[value] for value in values]
    return ["" if value is None else repr(value) for value in values]


def rfc3339_of(times: Sequence[int]) -> list[str]:
    """As `rfc3339` of each of these times, in microseconds since 1970."""
    if min(times, default=0) < 1_000_000:  # the last six digits are not those of a second
        return [rfc3339(EARLIEST + at * MICROSECOND) for at in times]
    hours = {number: hour_of(number) for number in {at // HOUR for at in times}}
    return [f"{hours[at // HOUR]}{SECONDS_OF_HOUR[at // 1_000_000 % 3600]}{str(at)[-6:]}Z" for at in times]


def hour_of(number: int) -> str:
    """`2026-05-09T14:`: the hour with this number since 1970."""
    day, hour = divmod(number, 24)
    return f"{date.fromordinal(EPOCH_DAY + day).isoformat()}T{hour:02}:"


def csv_values(reading: StoredReading, places: dict[str, int], time: str) -> str:
    """A line for each value of the metrics in `places`, in their order."""
    values = {name: value for name in COLUMNS if (value := getattr(reading, name)) is not None} | reading.extra
    start = f"{reading.id},{reading.seq},{reading.device_id},{time}"
    return "".join(f"{start},{name},{values[name]!r}\r\n" for name in places if name in values)


def local_time(moment: datetime, *, tz: tzinfo) -> str:
    """`2026-05-09 14:00:00.500`, the time in `tz` without an offset, which a spreadsheet reads as a time.

    LibreOffice leaves a time with `Z` or an offset as text. In milliseconds, because Excel has no finer times.
    """
    return moment.astimezone(tz).replace(tzinfo=None).isoformat(" ", "milliseconds")

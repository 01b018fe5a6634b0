"""Exports the readings of devices as CSV: the whole window, page by page, in constant memory."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from functools import lru_cache
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
from readings.windows import EARLIEST

# Rows of a statement; of what is sealed, a statement finds about twice as many readings.
PAGE_READINGS = 2000
# Lines per piece that is sent; 250 of the widest lines are 100 KB.
PIECE_READINGS = 250
EPOCH_DAY = EARLIEST.toordinal()
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
            times: Iterable[str] = map(rfc3339_of, map(segment.times.__getitem__, places))
        else:
            times = map(self.time_cell, segment.moments(places))
        seqs = map(str, map(segment.seqs.__getitem__, places))
        columns = [segment.id_texts(places), seqs, repeat(segment.device_id), times]
        columns += [cells_of(segment, name, places) for name in self.metrics]
        segment.pauses.pause()
        return [f"{','.join(cells)}\r\n" for cells in zip(*columns, strict=False)]

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
    try:
        chunk = reader.chunk(log, layout, limit=PAGE_READINGS, descending=descending, beyond=beyond)
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
    values = segment.metric(name)
    return ["" if (value := values[place]) is None else repr(value) for place in places]


def rfc3339_of(microseconds: int) -> str:
    """As `rfc3339` of this time since 1970."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    day, second = divmod(seconds, 86_400)
    minute, second = divmod(second, 60)
    return f"{date_of(day)}T{minute // 60:02}:{minute % 60:02}:{second:02}.{fraction:06}Z"


@lru_cache(64)
def date_of(day: int) -> str:
    return date.fromordinal(EPOCH_DAY + day).isoformat()


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

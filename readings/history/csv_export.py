"""Exports a device's readings as CSV: the whole window, page by page, in constant memory."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, tzinfo

from asgiref.sync import sync_to_async
from django.db import connection

from devices.api.compression import Compressor
from devices.cpu_pool import Pauses
from devices.metrics import COLUMNS
from readings.log.entries import StoredReading
from readings.querysets import INSERT_COLUMNS, ReadingQuerySet

PAGE_READINGS = 2000
# Lines per piece that is sent; 250 of the widest lines are 100 KB.
PIECE_READINGS = 250
IDENTIFYING = ("id", "seq", "device_id", "timestamp")


async def csv_lines(
    readings: ReadingQuerySet,
    *,
    metrics: Sequence[str],
    descending: bool,
    time_cell: Callable[[datetime], str],
    compressor: Compressor | None = None,
) -> AsyncIterator[bytes]:
    """Yields the header, then pieces of lines. Async, because ASGI would collect a sync generator in memory first.

    Every cell is a number, an id or a time, so no cell needs quotes and no spreadsheet sees a formula. The lines are
    formatted in the request's thread, because formatting a page of wide lines would block the event loop for too long.
    `time_cell` formats the timestamps: `rfc3339` or `local_time`. With a `compressor` the pieces are compressed in that
    thread too.
    """
    header = (",".join((*IDENTIFYING, *metrics)) + "\r\n").encode()
    yield compressor.piece(header) if compressor else header
    readings = readings.by_time(descending=descending)
    remaining = readings
    while True:
        pieces, last = await sync_to_async(page_of)(remaining, metrics, time_cell, compressor)
        if last is None:
            break
        for piece in pieces:
            yield piece
        remaining = readings.beyond(last.timestamp, last.seq, descending=descending)
    if compressor:
        yield compressor.end()


def page_of(
    readings: ReadingQuerySet,
    metrics: Sequence[str],
    time_cell: Callable[[datetime], str],
    compressor: Compressor | None = None,
) -> tuple[list[bytes], StoredReading | None]:
    """The lines of the next page in pieces, and its last reading; None if the page is empty.

    Closes the connection after the query, because a slow client must not hold a connection that others need.
    """
    try:
        page = [StoredReading(*values) for values in readings.values_list(*INSERT_COLUMNS)[:PAGE_READINGS]]
    finally:
        if not connection.in_atomic_block:
            connection.close()
    places = {name: place for place, name in enumerate(metrics)}
    pauses = Pauses()
    pieces = []
    for first in range(0, len(page), PIECE_READINGS):
        lines = []
        for reading in page[first : first + PIECE_READINGS]:
            lines.append(csv_line(reading, places, time_cell(reading.timestamp)))
            pauses.pause()
        piece = "".join(lines).encode()
        pieces.append(compressor.piece(piece) if compressor else piece)
    return pieces, page[-1] if page else None


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


def local_time(moment: datetime, *, tz: tzinfo) -> str:
    """`2026-05-09 14:00:00.500`, the time in `tz` without an offset, which a spreadsheet reads as a time.

    LibreOffice leaves a time with `Z` or an offset as text. In milliseconds, because Excel has no finer times.
    """
    return moment.astimezone(tz).replace(tzinfo=None).isoformat(" ", "milliseconds")

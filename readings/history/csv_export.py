"""A device's readings as CSV: the whole window, page by page, in constant memory."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from asgiref.sync import sync_to_async
from django.db import connection

from devices.cpu_pool import Pauses
from devices.metrics import COLUMNS
from readings.log.entries import StoredReading
from readings.querysets import INSERT_COLUMNS, ReadingQuerySet

PAGE_READINGS = 2000
# Lines given at once: of the widest, 100 KB.
PIECE_READINGS = 250
IDENTIFYING = ("id", "seq", "device_id", "timestamp")


async def csv_lines(readings: ReadingQuerySet, *, metrics: Sequence[str], descending: bool) -> AsyncIterator[bytes]:
    """The header, then pieces of lines. An async generator, because ASGI would collect a plain one in memory first.

    Every cell is a number, an id or a time, so nothing has to be quoted and no spreadsheet finds a formula. Lines are
    made in the request's thread: to make a page of wide ones takes longer than the event loop may stand still.
    """
    yield (",".join((*IDENTIFYING, *metrics)) + "\r\n").encode()
    readings = readings.by_time(descending=descending)
    remaining = readings
    while True:
        pieces, last = await sync_to_async(page_of)(remaining, metrics)
        if last is None:
            return
        for piece in pieces:
            yield piece
        remaining = readings.beyond(last.timestamp, last.seq, descending=descending)


def page_of(readings: ReadingQuerySet, metrics: Sequence[str]) -> tuple[list[bytes], StoredReading | None]:
    """The lines of the next page in pieces, and its last reading; None where there is none.

    Gives the connection back: a slow reader must not keep one from everybody else.
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
            lines.append(csv_line(reading, places))
            pauses.pause()
        pieces.append("".join(lines).encode())
    return pieces, page[-1] if page else None


def csv_line(reading: StoredReading, places: dict[str, int]) -> str:
    """The line, with each metric in its place."""
    cells = [""] * len(places)
    for name in COLUMNS:
        if name in places and (value := getattr(reading, name)) is not None:
            cells[places[name]] = repr(value)
    for name, value in reading.extra.items():
        if name in places:
            cells[places[name]] = repr(value)
    return f"{reading.id},{reading.seq},{reading.device_id},{rfc3339(reading.timestamp)},{','.join(cells)}\r\n"


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

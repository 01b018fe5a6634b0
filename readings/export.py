"""A device's readings as CSV: the whole window, page by page, in constant memory."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from asgiref.sync import sync_to_async
from django.db import connection

from devices.models import Device
from readings.aggregation import Question, aggregate
from readings.metrics import COLUMNS
from readings.querysets import INSERT_COLUMNS, ReadingQuerySet
from readings.stored import StoredReading
from readings.windows import EARLIEST, LATEST

PAGE_READINGS = 2000
IDENTIFYING = ("id", "seq", "device_id", "timestamp")


async def csv_lines(readings: ReadingQuerySet, *, metrics: Sequence[str], descending: bool) -> AsyncIterator[bytes]:
    """The header, then pages of lines. An async generator, because ASGI would collect a plain one in memory first.

    Every cell is a number, an id or a time, so nothing has to be quoted and no spreadsheet finds a formula.
    """
    yield (",".join((*IDENTIFYING, *metrics)) + "\r\n").encode()
    readings = readings.by_time(descending=descending)
    remaining = readings
    page: list[StoredReading]
    while page := await sync_to_async(page_of)(remaining):
        yield "".join(csv_line(reading, metrics) for reading in page).encode()
        remaining = readings.beyond(page[-1].timestamp, page[-1].seq, descending=descending)


def page_of(readings: ReadingQuerySet) -> list[StoredReading]:
    """The next page. Gives the connection back: a slow reader must not keep one from everybody else."""
    try:
        return [StoredReading(*values) for values in readings.values_list(*INSERT_COLUMNS)[:PAGE_READINGS]]
    finally:
        if not connection.in_atomic_block:
            connection.close()


def csv_line(reading: StoredReading, metrics: Sequence[str]) -> str:
    values = (getattr(reading, name) if name in COLUMNS else reading.extra.get(name) for name in metrics)
    cells = ("" if value is None else repr(value) for value in values)
    return f"{reading.id},{reading.seq},{reading.device_id},{rfc3339(reading.timestamp)},{','.join(cells)}\r\n"


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def extra_metrics(device: Device, start: datetime | None, end: datetime | None) -> list[str]:
    """The names of the metrics beside the columns that the device has in the window, sorted: by its rollups."""
    found = aggregate(Question(device.device_id, start or EARLIEST, end or LATEST), device.state)
    return sorted({name for metrics in found.by_bucket.values() for name in metrics}.difference(COLUMNS))

"""A device's readings as CSV: the whole window, page by page, in constant memory."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from asgiref.sync import sync_to_async
from django.db import connection

from readings.metrics import COLUMNS
from readings.models import Reading
from readings.querysets import ReadingQuerySet

PAGE_READINGS = 2000
IDENTIFYING = ("id", "seq", "device_id", "timestamp")


async def csv_lines(readings: ReadingQuerySet, *, metrics: Sequence[str], descending: bool) -> AsyncIterator[bytes]:
    """The header, then pages of lines. An async generator, because ASGI would collect a plain one in memory first.

    Every cell is a number, an id or a time, so nothing has to be quoted and no spreadsheet finds a formula.
    """
    yield (",".join((*IDENTIFYING, *metrics)) + "\r\n").encode()
    readings = readings.by_time(descending=descending)
    remaining = readings
    page: list[Reading]
    while page := await sync_to_async(page_of)(remaining):
        yield "".join(csv_line(reading, metrics) for reading in page).encode()
        remaining = readings.beyond(page[-1].timestamp, page[-1].seq, descending=descending)


def page_of(readings: ReadingQuerySet) -> list[Reading]:
    """The next page. Gives the connection back: a slow reader must not keep one from everybody else."""
    try:
        return list(readings[:PAGE_READINGS])
    finally:
        if not connection.in_atomic_block:
            connection.close()


def csv_line(reading: Reading, metrics: Sequence[str]) -> str:
    values = (getattr(reading, name) if name in COLUMNS else reading.extra.get(name) for name in metrics)
    cells = ("" if value is None else repr(value) for value in values)
    return f"{reading.id},{reading.seq},{reading.device_id},{rfc3339(reading.timestamp)},{','.join(cells)}\r\n"


def rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def extra_metrics(readings: ReadingQuerySet) -> list[str]:
    """The names of the metrics beside the columns that these readings have, sorted."""
    entries = "jsonb_object_keys(extra)" if connection.vendor == "postgresql" else "json_each(extra)"
    name = "entry" if connection.vendor == "postgresql" else "entry.key"
    sql, parameters = readings.order_by().values_list("extra").query.sql_with_params()
    with connection.cursor() as cursor:
        # Django made the inner statement; the rest is ours.
        cursor.execute(f"SELECT DISTINCT {name} FROM ({sql}) AS chosen, {entries} AS entry ORDER BY 1", parameters)  # noqa: S608
        return [name for (name,) in cursor.fetchall()]

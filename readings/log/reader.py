"""Reads stored readings: the only module that knows how the log is stored.

Whoever asks for readings asks here: history, CSV, pages, replays of sockets, alarms, imports and the console. The edges
of statistics, which are a part of a larger statement, are in `readings.log.sources`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import F, OuterRef, Subquery, Sum

from devices.metrics import COLUMNS
from devices.models import DeviceState
from devices.querysets import Viewer
from readings.log.entries import StoredReading
from readings.models import Reading
from readings.querysets import INSERT_COLUMNS, ReadingQuerySet

VALUE_COLUMNS = ", ".join(f"reading.{name}" for name in ("device_id", "seq", "timestamp", *COLUMNS))
PARTS = """
SELECT {columns} FROM json_to_recordset(%s::json) AS part (device_id text, after bigint, until bigint)
CROSS JOIN LATERAL (
    SELECT * FROM readings_reading
    WHERE device_id = part.device_id AND seq > part.after AND seq <= part.until
    OFFSET 0
) AS reading
ORDER BY reading.device_id, reading.seq
"""
PARTS_SQLITE = """
SELECT {columns} FROM json_each(%s) AS part CROSS JOIN readings_reading AS reading
WHERE reading.device_id = json_extract(part.value, '$.device_id')
  AND reading.seq > json_extract(part.value, '$.after') AND reading.seq <= json_extract(part.value, '$.until')
ORDER BY reading.device_id, reading.seq
"""

# A reading's place in the order by time: `(timestamp, seq)`.
Position = tuple[datetime, int]


class Window(msgspec.Struct, frozen=True):
    """Readings of a device with times in `[start, end)`; None leaves this side open.

    `metrics`: only those with a value for at least one of these; None: all.
    """

    device_id: str
    start: datetime | None = None
    end: datetime | None = None
    metrics: Sequence[str] | None = None


class Part(Protocol):
    """Entries of a device's log: `after < seq <= until`."""

    @property
    def device_id(self) -> str: ...

    @property
    def after(self) -> int: ...

    @property
    def until(self) -> int: ...


def page(
    window: Window, *, limit: int, descending: bool = False, beyond: Position | None = None
) -> list[StoredReading]:
    """The first `limit` readings of the window by `(timestamp, seq)`; those after the position `beyond`, if given."""
    return entries(rows_of(window, descending=descending, beyond=beyond)[:limit])


def times(window: Window, *, limit: int, descending: bool = False) -> list[datetime]:
    """The times of the first `limit` readings of the window, in their order."""
    return list(rows_of(window, descending=descending).values_list("timestamp", flat=True)[:limit])


def values(window: Window, metric: str, *, limit: int) -> list[tuple[int, datetime, float]]:
    """`(seq, timestamp, value)` of the first `limit` readings of the window that have the metric, by time.

    The metrics of the window do not count.
    """
    column = metric if metric in COLUMNS else f"extra__{metric}"
    rows = rows_of(msgspec.structs.replace(window, metrics=[metric]))
    found: Iterable[tuple[int, datetime, Any]] = rows.values_list("seq", "timestamp", column)[:limit]
    return [(seq, at, float(value)) for seq, at, value in found]


def count(device_id: str) -> int:
    """The number of stored readings of the device. Takes time in proportion to it."""
    return Reading.objects.filter(device_id=device_id).count()


def about_stored() -> int:
    """About how many readings are stored, from the ends of each log: it counts what retention left out in between."""
    oldest = Reading.objects.filter(device_id=OuterRef("device_id")).order_by("seq").values("seq")[:1]
    logs = DeviceState.objects.filter(last_seq__gt=0).annotate(length=F("last_seq") - Subquery(oldest) + 1)
    return int(logs.aggregate(total=Sum("length"))["total"] or 0)


def by_ids(asked: Sequence[tuple[str, UUID]]) -> list[StoredReading]:
    """The stored readings with these device ids and ids, in any order."""
    return Reading.objects.by_ids(asked) if asked else []


def newest_of_each(viewer: Viewer, *, after: str = "", limit: int) -> list[StoredReading]:
    """The newest reading by time of each of the first `limit` devices with readings, by device id, after `after`.

    Only of devices that the viewer may see.
    """
    newest = Reading.objects.filter(seq=F("device__state__latest_seq"), device_id__gt=after)
    return entries(newest.visible_to(viewer).order_by("device_id")[:limit])


def logs_after(positions: Mapping[str, int], *, limit: int) -> list[StoredReading]:
    """The next entries after the position of each log, ordered by (device_id, seq), at most `limit` in total."""
    return Reading.objects.logs_after(positions, limit=limit)


def parts(asked: Sequence[Part], *, with_extra: bool) -> Iterable[Any]:
    """Rows (device id, seq, time, the columns of COLUMNS, and `extra` as JSON text) of these parts, by device and seq.

    Readings that retention deleted are missing.
    """
    ranges = [{"device_id": part.device_id, "after": part.after, "until": part.until} for part in asked]
    parameters = [msgspec.json.encode(ranges).decode()]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = f"{VALUE_COLUMNS}, reading.extra::text" if with_extra else VALUE_COLUMNS
            cursor.execute(PARTS.format(columns=columns), parameters)
            return list(cursor.fetchall())
        columns = f"{VALUE_COLUMNS}, reading.extra" if with_extra else VALUE_COLUMNS
        cursor.execute(PARTS_SQLITE.format(columns=columns), parameters)
        return [(row[0], row[1], row[2].replace(tzinfo=UTC), *row[3:]) for row in cursor.fetchall()]


def rows_of(window: Window, *, descending: bool = False, beyond: Position | None = None) -> ReadingQuerySet:
    rows = Reading.objects.filter(device_id=window.device_id).in_window(window.start, window.end)
    if window.metrics is not None:
        rows = rows.with_any_of(window.metrics)
    if beyond is not None:
        rows = rows.beyond(*beyond, descending=descending)
    return rows.by_time(descending=descending)


def entries(rows: ReadingQuerySet) -> list[StoredReading]:
    return [StoredReading(*row) for row in rows.values_list(*INSERT_COLUMNS)]

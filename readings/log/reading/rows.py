"""The rows of statements over both forms: SQL for their columns, and readings from them in one form on both databases.

All begin with LEADING; a reading's own columns follow. A reading has a number and a time. A segment has its first and
last number, one of its times, and `data`. A row without a number says where the statement ended: at a `timestamp`, or
before the number in `last_seq`.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from django.db import connection

from readings.fields import decoded_extra
from readings.log.entries import StoredReading

LEADING = ("seq", "timestamp", "last_seq", "data")
DATA = LEADING.index("data")
# The columns of a whole reading beside those, with their types in PostgreSQL.
WHOLE = {"id": "uuid", "temperature": "float8", "humidity": "float8", "voltage": "float8", "extra": "jsonb"}

Row = Sequence[Any]


def of_reading(columns: Iterable[str]) -> str:
    """The select list for a row of `readings_reading`."""
    return ", ".join(["seq", "timestamp", null("bigint"), null("bytea"), *columns])


def of_segment(columns: Mapping[str, str], *, time: str) -> str:
    """The select list for a row of `readings_segment`; `time`: one of its columns of time."""
    return ", ".join(["first_seq", time, "last_seq", "data", *map(null, columns.values())])


def of_cut(columns: Mapping[str, str], *, time: str = "", seq: str = "") -> str:
    """The select list for a row that says where the statement ended."""
    none = map(null, ("bytea", *columns.values()))
    return ", ".join([null("bigint"), time or null("timestamptz"), seq or null("bigint"), *none])


def null(kind: str) -> str:
    return f"NULL::{kind}" if connection.vendor == "postgresql" else "NULL"


class Found(NamedTuple):
    """What a statement found: rows of readings, of segments, and the row that says where it ended, if it did."""

    readings: list[Row]
    segments: list[Row]
    cut: Row | None


def found(sql: str, parameters: Mapping[str, Any]) -> Found:
    """Executes the statement. Its times are in UTC."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[Row] = cursor.fetchall()
    if connection.vendor != "postgresql":
        rows = [(row[0], row[1] and row[1].replace(tzinfo=UTC), *row[2:]) for row in rows]
    readings = [row for row in rows if row[0] is not None and row[DATA] is None]
    if len(readings) == len(rows):  # the usual case
        return Found(readings, [], None)
    segments = [row for row in rows if row[DATA] is not None]
    return Found(readings, segments, next((row for row in rows if row[0] is None), None))


def stored_readings(device_id: str, rows: Sequence[Row]) -> list[StoredReading]:
    """The readings of rows of a device with the columns of WHOLE."""
    ids = uuids([row[4] for row in rows])
    return [
        StoredReading(
            identifier,
            device_id,
            row[0],
            row[1],
            row[5],
            row[6],
            row[7],
            {} if row[8] == "{}" else decoded_extra(row[8]),
        )
        for identifier, row in zip(ids, rows, strict=True)
    ]


def readings_of_devices(rows: Sequence[Row]) -> list[StoredReading]:
    """The readings of rows of device id, number, time, and the columns of WHOLE."""
    ids = uuids([row[3] for row in rows])
    zone = None if connection.vendor == "postgresql" else UTC
    return [
        StoredReading(
            identifier,
            row[0],
            row[1],
            row[2].replace(tzinfo=zone) if zone else row[2],
            row[4],
            row[5],
            row[6],
            {} if row[7] == "{}" else decoded_extra(row[7]),
        )
        for identifier, row in zip(ids, rows, strict=True)
    ]


def uuids(values: list[Any]) -> list[UUID]:
    """SQLite returns them as 32 hexadecimal digits."""
    return values if connection.vendor == "postgresql" else msgspec.convert(values, list[UUID])


def moment(value: datetime | None) -> Any:
    """A time as a parameter of SQL."""
    return connection.ops.adapt_datetimefield_value(value)

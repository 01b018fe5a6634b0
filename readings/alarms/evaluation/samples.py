"""Reads the values of the metrics that rules judge from parts of the logs."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from django.db import connection

from devices.metrics import COLUMNS
from readings.alarms.conditions.states import Sample
from readings.alarms.evaluation.positions import Newest, Part
from readings.windows import EARLIEST

MICROSECOND = timedelta(microseconds=1)

COLUMN_LIST = f"reading.device_id, reading.seq, reading.timestamp, {', '.join(f'reading.{name}' for name in COLUMNS)}"
READ = """
SELECT {columns} FROM json_to_recordset(%s::json) AS part (device_id text, after bigint, until bigint)
CROSS JOIN LATERAL (
    SELECT * FROM readings_reading
    WHERE device_id = part.device_id AND seq > part.after AND seq <= part.until
    OFFSET 0
) AS reading
ORDER BY reading.device_id, reading.seq
"""
READ_SQLITE = """
SELECT {columns} FROM json_each(%s) AS part CROSS JOIN readings_reading AS reading
WHERE reading.device_id = json_extract(part.value, '$.device_id')
  AND reading.seq > json_extract(part.value, '$.after') AND reading.seq <= json_extract(part.value, '$.until')
ORDER BY reading.device_id, reading.seq
"""


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of a metric, with the position of its reading."""

    seq: int
    sample: Sample


Values = dict[str, list[Value]]


class Series:
    """Collects the values of one device by metric, in the order of its log.

    `newest` has the newest time of each metric so far, and is updated. A value that is older is late. `values` has the
    metrics of which there are values.
    """

    def __init__(self, newest: Newest) -> None:
        self.newest = newest
        self.values: Values = {}

    def add(self, seq: int, at: datetime, metric: str, value: float) -> None:
        micros = (at - EARLIEST) // MICROSECOND
        late = micros < self.newest.get(metric, micros)
        if not late:
            self.newest[metric] = micros
        self.values.setdefault(metric, []).append(Value(seq, Sample(at, value, late)))


def read_series(parts: Sequence[Part], metrics: frozenset[str]) -> dict[str, Series]:
    """The values of these metrics in these parts, by device id. Readings that retention deleted are missing."""
    series = {part.device_id: Series(dict(part.newest)) for part in parts}
    columns = [(place, name) for place, name in enumerate(COLUMNS, start=3) if name in metrics]
    extras = metrics.difference(COLUMNS)
    place_of_extra = 3 + len(COLUMNS)
    for row in rows_of(parts, with_extra=bool(extras)):
        device_id, seq, at = row[:3]
        of_device = series[device_id]
        for place, name in columns:
            if row[place] is not None:
                of_device.add(seq, at, name, row[place])
        if extras and row[place_of_extra] != "{}":
            found: dict[str, float] = msgspec.json.decode(row[place_of_extra])
            for name in extras & found.keys():
                of_device.add(seq, at, name, float(found[name]))
    return series


def rows_of(parts: Sequence[Part], *, with_extra: bool) -> Iterable[Any]:
    """Rows (device id, seq, time, the columns of COLUMNS, and `extra` as JSON text), by device and seq."""
    parameters = [msgspec.json.encode(parts).decode()]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = f"{COLUMN_LIST}, reading.extra::text" if with_extra else COLUMN_LIST
            cursor.execute(READ.format(columns=columns), parameters)
            return list(cursor.fetchall())
        columns = f"{COLUMN_LIST}, reading.extra" if with_extra else COLUMN_LIST
        cursor.execute(READ_SQLITE.format(columns=columns), parameters)
        return [(row[0], row[1], row[2].replace(tzinfo=UTC), *row[3:]) for row in cursor.fetchall()]

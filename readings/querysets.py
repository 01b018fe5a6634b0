from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import msgspec
from django.db import connections, models
from django.db.models import F, Func, Q, Value

from devices.metrics import COLUMNS
from readings.log.entries import StoredReading

if TYPE_CHECKING:
    from devices.models import Device
    from readings.models import Reading, Rejection  # noqa: F401  named in the base classes

STORED = "SELECT id FROM readings_reading WHERE id = ANY(ARRAY(SELECT json_array_elements_text(%s::json)::uuid))"
STORED_SQLITE = "SELECT id FROM readings_reading WHERE id IN (SELECT value FROM json_each(%s))"

# The next entries of many logs, each behind a position of its own, by the index of (device_id, seq).
LOGS_AFTER = """
SELECT {columns} FROM readings_reading AS reading
JOIN json_to_recordset(%s::json) AS asked (device_id text, after bigint)
    ON reading.device_id = asked.device_id AND reading.seq > asked.after
WHERE reading.device_id = ANY(ARRAY(SELECT device_id FROM json_to_recordset(%s::json) AS one (device_id text)))
ORDER BY reading.device_id, reading.seq LIMIT %s
"""
LOGS_AFTER_SQLITE = """
SELECT {columns} FROM json_each(%s) AS asked CROSS JOIN readings_reading AS reading
    ON reading.device_id = json_extract(asked.value, '$.device_id')
    AND reading.seq > json_extract(asked.value, '$.after')
ORDER BY reading.device_id, reading.seq LIMIT %s
"""

encode = msgspec.json.encode


class Beyond(Func):
    """`(timestamp, seq)` compared with a position as rows are. Django's own comparison of rows is an OR on SQLite."""

    def __init__(self, timestamp: datetime, seq: int, *, descending: bool) -> None:
        super().__init__(
            F("timestamp"),
            F("seq"),
            Value(timestamp, output_field=models.DateTimeField()),
            Value(seq, output_field=models.BigIntegerField()),
            output_field=models.BooleanField(),
        )
        self.operator = "<" if descending else ">"

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, Any]:
        parts = [compiler.compile(expression) for expression in self.get_source_expressions()]
        (time, seq, at, position), parameters = zip(*parts, strict=True)
        return f"({time}, {seq}) {self.operator} ({at}, {position})", tuple(
            value for part in parameters for value in part
        )


INSERT_COLUMNS = ("id", "device_id", "seq", "timestamp", "temperature", "humidity", "voltage", "extra")


class ReadingQuerySet(models.QuerySet["Reading"]):
    def in_window(self, start: datetime | None, end: datetime | None) -> Self:
        """Readings of `[start, end)`; None leaves that side open."""
        readings = self
        if start is not None:
            readings = readings.filter(timestamp__gte=start)
        if end is not None:
            readings = readings.filter(timestamp__lt=end)
        return readings

    def with_any_of(self, metrics: Sequence[str]) -> Self:
        """Readings that have a value of at least one of these metrics."""
        extras = [name for name in metrics if name not in COLUMNS]
        columns = (Q(**{f"{name}__isnull": False}) for name in metrics if name in COLUMNS)
        return self.filter(reduce(or_, columns, Q(extra__has_any_keys=extras) if extras else Q(pk__in=[])))

    def by_time(self, *, descending: bool) -> Self:
        """Ordered by time, by `seq` where times are equal."""
        return self.order_by("-timestamp", "-seq") if descending else self.order_by("timestamp", "seq")

    def beyond(self, timestamp: datetime, seq: int, *, descending: bool) -> Self:
        """Readings that come after this position in `by_time` order.

        As a comparison of rows, which the index (device, timestamp, seq) bounds from the first entry on.
        """
        return self.filter(Beyond(timestamp, seq, descending=descending))

    def log_after(self, device_id: str, after: int, *, limit: int) -> Self:
        """The next `limit` entries of a device's log, in order."""
        return self.filter(device=device_id, seq__gt=after).order_by("seq")[:limit]

    def by_ids(self, ids: Sequence[UUID]) -> dict[UUID, StoredReading]:
        """The readings of these ids that there are. Asked in SQL: for a thousand ids the ORM takes milliseconds."""
        connection = connections[self.db]
        postgresql = connection.vendor == "postgresql"
        with connection.cursor() as cursor:
            cursor.execute(STORED if postgresql else STORED_SQLITE, [encode([i.hex for i in ids]).decode()])
            stored = [UUID(str(identifier)) for (identifier,) in cursor.fetchall()]
        found = self.filter(id__in=stored).values_list(*INSERT_COLUMNS) if stored else ()
        return {values[0]: StoredReading(*values) for values in found}


ReadingsByQuerySet = models.Manager.from_queryset(ReadingQuerySet)


class ReadingManager(ReadingsByQuerySet["Reading"]):
    """What is asked of, or done to, all logs at a time: it would ignore a QuerySet's filters, so none has it."""

    def insert(self, readings: Sequence[StoredReading]) -> None:
        """Stores numbered readings; to be called by `readings.log.recording` alone, which holds the locks."""
        if not readings:
            return
        connection = connections[self.db]
        if connection.vendor == "postgresql":
            statement = f"COPY {self.model._meta.db_table} ({', '.join(INSERT_COLUMNS)}) FROM STDIN"
            # Django wraps the errors of execute(), not of copy().
            with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(copy_text(readings))
        else:
            self.bulk_create(
                [self.model(**{name: getattr(r, name) for name in INSERT_COLUMNS}) for r in readings], batch_size=100
            )

    def logs_after(self, positions: Mapping[str, int], *, limit: int) -> list[StoredReading]:
        """The next entries of these logs, behind a position each: by device, in order, `limit` of them in all."""
        if len(positions) == 1:
            ((device_id, after),) = positions.items()
            values = self.log_after(device_id, after, limit=limit).values_list(*INSERT_COLUMNS)
            return [StoredReading(*row) for row in values]
        asked = encode([{"device_id": device_id, "after": after} for device_id, after in positions.items()]).decode()
        columns = ", ".join(f"reading.{name}" for name in INSERT_COLUMNS)
        if connections[self.db].vendor == "postgresql":
            found = self.raw(LOGS_AFTER.format(columns=columns), [asked, asked, limit])
        else:
            found = self.raw(LOGS_AFTER_SQLITE.format(columns=columns), [asked, limit])
        return [StoredReading(*(getattr(entry, name) for name in INSERT_COLUMNS)) for entry in found]


class RejectionQuerySet(models.QuerySet["Rejection"]):
    def of_device(self, device: "Device") -> Self:
        """What was refused of a device, the latest first; also what came with a key that begins as one of its own."""
        alike = Q(caller="nobody", device_id="", key_hint__in=device.key_hints)
        return self.filter(Q(device_id=device.device_id) | alike).order_by("-last_at", "-id")

    def of_nobody(self) -> Self:
        """What came without a key, or with one that nobody has; the latest first."""
        return self.filter(caller="nobody", device_id="").order_by("-last_at", "-id")


def copy_text(readings: Sequence[StoredReading]) -> str:
    """The rows in COPY's text format: nothing that a reading may contain needs escaping in it.

    Device ids are of DEVICE_ID_PATTERN, metric names of METRIC_NAME; all else is numbers.
    """
    times: dict[datetime, str] = {}
    lines = []
    for r in readings:
        if (timestamp := times.get(r.timestamp)) is None:
            timestamp = times[r.timestamp] = r.timestamp.isoformat()
        temperature = r"\N" if r.temperature is None else r.temperature
        humidity = r"\N" if r.humidity is None else r.humidity
        voltage = r"\N" if r.voltage is None else r.voltage
        extra = encode(r.extra).decode() if r.extra else "{}"
        lines.append(
            f"{r.id.int:032x}\t{r.device_id}\t{r.seq}\t{timestamp}\t{temperature}\t{humidity}\t{voltage}\t{extra}\n"
        )
    return "".join(lines)

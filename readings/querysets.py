from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import msgspec.structs
from django.conf import settings
from django.db import connections, models
from django.db.models import Q
from django.db.models.expressions import RawSQL

from devices.database.pipelines import execute_prepared
from devices.metrics import PLAIN, Catalogue
from devices.querysets import Viewer, of_visible_devices, sees_every_device
from readings.common_metrics import COMMON
from readings.log.entries import StoredReading

if TYPE_CHECKING:
    from devices.models import Device
    from readings.models import Metric, Reading, Rejection  # noqa: F401  named in the base classes

# The names of the metrics that these devices have sent.
SENT = """
SELECT json_object_keys(state.latest::json) FROM devices_devicestate AS state
WHERE state.device_id = ANY(ARRAY(SELECT json_array_elements_text(%s::json)))
"""
SENT_SQLITE = """
SELECT entry.key FROM devices_devicestate AS state CROSS JOIN json_each(state.latest) AS entry
WHERE state.device_id IN (SELECT value FROM json_each(%s))
"""

# The codes of values that a door did not store (readings.doors.translation) begin with this.
SKIPPED_PREFIX = "skipped_"

encode = msgspec.json.encode

INSERT_COLUMNS = ("id", "device_id", "seq", "timestamp", "temperature", "humidity", "voltage", "extra")
# The parameters are arrays, one for each column.
INSERT = f"""
INSERT INTO readings_reading ({", ".join(INSERT_COLUMNS)}) SELECT * FROM unnest(
    %s::uuid[], %s::text[], %s::bigint[], %s::timestamptz[], %s::float8[], %s::float8[], %s::float8[], %s::jsonb[]
)
"""  # noqa: S608
# For Citus, which sends rows of constants to their nodes, but a SELECT first to itself.
INSERT_ROWS = f"INSERT INTO readings_reading ({', '.join(INSERT_COLUMNS)}) VALUES "  # noqa: S608
ROW = f"({', '.join(['%s'] * len(INSERT_COLUMNS))})"
INSERT_SQLITE = f"INSERT INTO readings_reading ({', '.join(INSERT_COLUMNS)}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608


class ReadingQuerySet(models.QuerySet["Reading"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """The readings of devices that the viewer may see."""
        return self.filter(of_visible_devices(viewer))


ReadingsByQuerySet = models.Manager.from_queryset(ReadingQuerySet)


class ReadingManager(ReadingsByQuerySet["Reading"]):
    """Methods for all logs; not methods of the QuerySet, because they would ignore its filters."""

    def insert(self, readings: Sequence[StoredReading], *, pipelined: bool = False) -> None:
        """Stores numbered readings. Only `readings.log.recording`, which holds the locks, and `unseal` may call it.

        `pipelined`: in a pipeline, where nothing is sent yet. COPY is impossible there; of many readings it is faster.
        """
        if not readings:
            return
        connection = connections[self.db]
        if connection.vendor == "postgresql" and pipelined:
            if settings.DISTRIBUTED:
                rows = [value for reading in readings for value in values_of(reading)]
                execute_prepared(connection, INSERT_ROWS + ", ".join([ROW] * len(readings)), rows)
            else:
                execute_prepared(connection, INSERT, arrays(readings))
        elif connection.vendor == "postgresql":
            statement = f"COPY {self.model._meta.db_table} ({', '.join(INSERT_COLUMNS)}) FROM STDIN"
            # wrap_database_errors, because Django wraps errors of execute() but not of copy().
            with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
                copy.write(copy_text(readings))
        else:
            moment = connection.ops.adapt_datetimefield_value
            times = {timestamp: str(moment(timestamp)) for timestamp in {r.timestamp for r in readings}}
            with connection.cursor() as cursor:
                cursor.executemany(INSERT_SQLITE, [row_of(r, times) for r in readings])


class MetricQuerySet(models.QuerySet["Metric"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """The metrics that every installation has, and those that devices which the viewer may see have sent."""
        if sees_every_device(viewer):
            return self
        from devices.models import Device

        ids = list(Device.objects.visible_to(viewer).values_list("device_id", flat=True))
        sent = SENT if connections[self.db].vendor == "postgresql" else SENT_SQLITE
        return self.filter(Q(name__in=list(COMMON)) | Q(name__in=RawSQL(sent, [encode(ids).decode()])))  # noqa: S611

    def in_order(self) -> Self:
        return self.order_by("order", "name")

    def plain(self) -> Self:
        """Metrics that nobody has described, and that are no common ones."""
        return self.filter(**msgspec.structs.asdict(PLAIN))

    def catalogue(self) -> Catalogue:
        """The descriptions of these metrics, in their order. One query."""
        described = self.exclude(**msgspec.structs.asdict(PLAIN)).in_order()
        return Catalogue({metric.name: metric.description for metric in described})


class RejectionQuerySet(models.QuerySet["Rejection"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Those of devices that the viewer may see; a limited viewer sees none of unknown senders."""
        return self.filter(of_visible_devices(viewer))

    def of_device(self, device: "Device") -> Self:
        """Refused posts of a device, the latest first; includes unknown keys that begin like one of its keys."""
        alike = Q(caller="nobody", device_id="", key_hint__in=device.key_hints)
        return self.filter(Q(device_id=device.device_id) | alike).order_by("-last_at", "-id")

    def refusals(self) -> Self:
        """Without the values that doors skipped."""
        return self.exclude(code__startswith=SKIPPED_PREFIX)

    def of_nobody(self) -> Self:
        """Refused posts without a key or with an unknown key, the latest first."""
        return self.filter(caller="nobody", device_id="").order_by("-last_at", "-id")


def values_of(r: StoredReading) -> tuple[Any, ...]:
    """The parameters of ROW."""
    extra = encode(r.extra).decode() if r.extra else "{}"
    return r.id, r.device_id, r.seq, r.timestamp, r.temperature, r.humidity, r.voltage, extra


def row_of(r: StoredReading, times: Mapping[datetime, str]) -> tuple[Any, ...]:
    """The parameters of INSERT_SQLITE. `times` has each timestamp as SQLite stores it."""
    extra = encode(r.extra).decode() if r.extra else "{}"
    return r.id.hex, r.device_id, r.seq, times[r.timestamp], r.temperature, r.humidity, r.voltage, extra


def arrays(readings: Sequence[StoredReading]) -> list[str]:
    """The columns of INSERT as arrays in PostgreSQL's text format. Only times and JSON need quotes, as in COPY."""

    def numbers(values: Iterable[float | None]) -> list[str]:
        return ["NULL" if value is None else str(value) for value in values]

    columns: list[list[str]] = [
        [f"{r.id.int:032x}" for r in readings],
        [f'"{r.device_id}"' for r in readings],
        [str(r.seq) for r in readings],
        [f'"{r.timestamp.isoformat()}"' for r in readings],
        numbers(r.temperature for r in readings),
        numbers(r.humidity for r in readings),
        numbers(r.voltage for r in readings),
        ['"' + encode(r.extra).decode().replace('"', r"\"") + '"' if r.extra else '"{}"' for r in readings],
    ]
    return [f"{{{','.join(column)}}}" for column in columns]


def copy_text(readings: Sequence[StoredReading]) -> str:
    """The rows in COPY's text format. No value needs escaping.

    Device ids match DEVICE_ID_PATTERN and metric names match METRIC_NAME; everything else is a number, id or time.
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

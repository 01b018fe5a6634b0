"""Statistics of a window, whole or by buckets: plain SQL over the raw readings, in one statement."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import connection

from readings.buckets import EPOCH, Bucket
from readings.metrics import COLUMNS

# From what SQL says of a bucket to its start.
Start = Callable[[Any], datetime]


class Statistics(msgspec.Struct):
    """Of one metric's values; `min`, `max`, `avg` are None where `count` is 0."""

    count: int = 0
    min: float | None = None
    max: float | None = None
    avg: float | None = None
    sum: float = 0.0

    def add(self, count: int, total: float, smallest: float, largest: float) -> None:
        """Takes in `count` more values, at least one, by their sum and extremes."""
        self.count += count
        self.sum += total
        self.avg = self.sum / self.count
        self.min = smallest if self.min is None else min(self.min, smallest)
        self.max = largest if self.max is None else max(self.max, largest)


class BucketStatistics(msgspec.Struct):
    """`start` is the bucket's own, in UTC, which for the first bucket may lie before the window's."""

    start: datetime
    metrics: dict[str, Statistics]


def total(device_id: str, start: datetime, end: datetime, metrics: Sequence[str] | None) -> dict[str, Statistics]:
    """Statistics by metric of `[start, end)`: of the named metrics, or (None) of every metric there is.

    A named metric without a value has the count 0.
    """
    result: dict[str, Statistics] = defaultdict(Statistics)
    for name in metrics or ():
        result[name] = Statistics()
    for _, name, *values in rows(device_id, start, end, metrics, None):
        result[name].add(*values)
    return result


def by_bucket(
    device_id: str, start: datetime, end: datetime, metrics: Sequence[str] | None, bucket: Bucket, *, fill: bool
) -> list[BucketStatistics]:
    """Statistics by bucket, in order of time; only of what has values, or with `fill` of every bucket and metric."""
    found: dict[datetime, dict[str, Statistics]] = defaultdict(lambda: defaultdict(Statistics))
    names = set(metrics or ())
    for moment, name, *values in rows(device_id, start, end, metrics, bucket):
        found[moment][name].add(*values)
        names.add(name)
    if not fill:
        return [BucketStatistics(moment, found[moment]) for moment in sorted(found)]
    return [
        BucketStatistics(moment, {name: found[moment][name] for name in sorted(names)})
        for moment in bucket.starts(start, end)
    ]


def rows(
    device_id: str, start: datetime, end: datetime, metrics: Sequence[str] | None, bucket: Bucket | None
) -> Iterable[tuple[Any, ...]]:
    """(start of the bucket, metric, count, sum, min, max); a bucket and metric may come in several parts."""
    columns = [name for name in COLUMNS if metrics is None or name in metrics]
    extras = None if metrics is None else [name for name in metrics if name not in COLUMNS]
    dialect = PostgreSQL() if connection.vendor == "postgresql" else SQLite()
    label, label_parameters, starts = label_of(bucket, start, end, dialect)
    window = [device_id, *(connection.ops.adapt_datetimefield_value(moment) for moment in (start, end))]
    where = "FROM readings_reading{} WHERE device_id = %s AND timestamp >= %s AND timestamp < %s"
    parts: list[str] = []
    parameters: list[Any] = []
    for name in columns:
        parts.append(
            f"SELECT {label}, '{name}', count({name}), sum({name}), min({name}), max({name}) "
            f"{where.format('')} AND {name} IS NOT NULL GROUP BY 1"
        )
        parameters += [*label_parameters, *window]
    if extras is None or extras:
        chosen = "" if extras is None else f" AND entry.key IN ({', '.join(['%s'] * len(extras))})"
        value = dialect.value
        parts.append(
            f"SELECT {label}, entry.key, count(*), sum({value}), min({value}), max({value}) "
            f"{where.format(dialect.entries)}{chosen} GROUP BY 1, 2"
        )
        parameters += [*label_parameters, *window, *(extras or ())]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), parameters)
        for label_value, *values in cursor.fetchall():
            name, count, *numbers = values
            yield starts(label_value), name, count, *map(float, numbers)


class PostgreSQL:
    entries = ", jsonb_each_text(extra) AS entry(key, value)"
    value = "entry.value::float8"
    seconds = "floor(extract(epoch FROM timestamp))::bigint"

    @staticmethod
    def width_bucket(starts: list[datetime]) -> tuple[str, list[Any]]:
        return "width_bucket(timestamp, %s::timestamptz[])", [starts]


class SQLite:
    entries = ", json_each(extra) AS entry"
    # Without the cast a sum of whole numbers is one too, and fails where it leaves 64 bits.
    value = "CAST(entry.value AS REAL)"
    # Without the fraction, which strftime would round to milliseconds, and so up into the next bucket.
    seconds = "CAST(strftime('%%s', substr(timestamp, 1, 19)) AS INTEGER)"

    @staticmethod
    def width_bucket(starts: list[datetime]) -> tuple[str, list[Any]]:
        """PostgreSQL's function, which SQLite lacks; times are kept as text that sorts as they do."""
        texts = [connection.ops.adapt_datetimefield_value(moment) for moment in starts]
        connection.ensure_connection()
        connection.connection.create_function(
            "width_bucket", 1, lambda timestamp: bisect_right(texts, timestamp), deterministic=True
        )
        return "width_bucket(timestamp)", []


def label_of(
    bucket: Bucket | None, start: datetime, end: datetime, dialect: PostgreSQL | SQLite
) -> tuple[str, list[Any], Start]:
    """SQL that numbers a row's bucket, its parameters, and what turns that number into the bucket's start."""
    if bucket is None:
        return "0", [], lambda _: start
    if not bucket.days:
        # Whole seconds, divided as whole numbers: no reading is older than the epoch.
        return f"{dialect.seconds} / {bucket.seconds}", [], lambda n: EPOCH + timedelta(seconds=n * bucket.seconds)
    # Days begin where zoneinfo says: the database's own time zone tables may be of another year.
    starts = list(bucket.starts(start, end))
    return *dialect.width_bucket(starts), lambda n: starts[n - 1]

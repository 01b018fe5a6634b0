"""Statistics of a window, in total or by buckets, from rollups where possible and otherwise from readings.

One statement reads one snapshot: it reads the positions of the rollups and adds the readings after these positions.
Therefore the answer always equals plain SQL over all readings, whenever maintenance last ran.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import connection, transaction

from devices.cpu_pool import Pauses
from devices.metrics import COLUMNS
from devices.models import DeviceState
from readings.models import Reading, Rollup
from readings.statistics.buckets import EPOCH, Bucket
from readings.statistics.planning import Plan, Span, floor, plan
from readings.statistics.sql import PostgreSQL, SQLite, moment
from readings.statistics.tiers import HOURS, MINUTES, Tier

# Converts the label of a bucket, as returned by SQL, to the start of the bucket.
Start = Callable[[Any], datetime]

# A tier whose position is more readings behind the log is not used (after a large import, for example), because every
# query would have to read all readings after this position.
BEHIND_MAX = 100_000

# Attempts to plan a query again if retention moved `raw_from` between planning and execution (about once an hour).
ATTEMPTS = 3


# Maximum number of values (buckets times metrics) in an answer: 24 MB of JSON.
AGGREGATE_VALUES_MAX = 200_000
# An answer that may have more values is fetched in pieces. Only one such answer is made at a time (up to 80 MB).
LARGE_ANSWER_VALUES = 50_000
FETCHED_ROWS = 2_000


class Statistics(msgspec.Struct, gc=False):
    """Statistics of the values of one metric. `min`, `max` and `avg` are None if `count` is 0."""

    count: int = 0
    min: float | None = None
    max: float | None = None
    avg: float | None = None
    sum: float = 0.0

    def add(self, count: int, total: float, smallest: float, largest: float) -> None:
        """Adds `count` values, at least one, given their sum, minimum and maximum."""
        self.count += count
        self.sum += total
        self.avg = self.sum / self.count
        self.min = smallest if self.min is None else min(self.min, smallest)
        self.max = largest if self.max is None else max(self.max, largest)


class BucketStatistics(msgspec.Struct, gc=False):
    """Statistics by metric of one bucket. `start` is in UTC; the first bucket may start before the window."""

    start: datetime
    metrics: dict[str, Statistics]


class Question(msgspec.Struct, frozen=True):
    """An aggregate query: device, window `[start, end)`, metrics (None: all) and bucket (None: the whole window)."""

    device_id: str
    start: datetime
    end: datetime
    metrics: Sequence[str] | None = None
    bucket: Bucket | None = None


class Answer(msgspec.Struct, frozen=True):
    """Statistics by start of the bucket and metric.

    `widened`: an edge of the window or of a bucket in the time of deleted readings was widened to whole hours.
    """

    by_bucket: dict[datetime, dict[str, Statistics]]
    widened: bool

    def total(self, question: Question) -> dict[str, Statistics]:
        """Statistics of the whole window by metric. A requested metric without values has the count 0."""
        found = self.by_bucket.get(question.start, {})
        return {name: found.get(name, Statistics()) for name in question.metrics or found}

    def buckets(self, question: Question, *, fill: bool) -> Iterator[BucketStatistics]:
        """The buckets in order of time: those with values, or with `fill` every bucket with every metric.

        Each bucket is removed from the answer when it is yielded, to free its memory.
        """
        assert question.bucket is not None
        if not fill:
            for start in sorted(self.by_bucket):
                yield BucketStatistics(start, self.by_bucket.pop(start))
            return
        names = sorted({*(question.metrics or ()), *(name for found in self.by_bucket.values() for name in found)})
        for start in question.bucket.starts(question.start, question.end):
            found = self.by_bucket.pop(start, {})
            yield BucketStatistics(start, {name: found.get(name) or Statistics() for name in names})


class TooManyValues(Exception):
    """The answer would have more than AGGREGATE_VALUES_MAX values. The message says how many, and what to change."""

    def __init__(self, count: str, *, fill: bool) -> None:
        ways = ["larger buckets", "fewer metrics (metrics=…)", *(["no fill=null"] if fill else []), "or bucket=auto"]
        super().__init__(
            f"The answer would have {count}; the maximum is {AGGREGATE_VALUES_MAX} (the constant "
            f"AGGREGATE_VALUES_MAX). Request {', '.join(ways)}."
        )


class Outdated(Exception):
    """Retention moved `raw_from` between the planning and the execution of a query."""


def check_size(question: Question, metrics: int, *, fill: bool) -> int:
    """The maximum number of values of the answer; `metrics` is the number of metrics that it may have.

    Raises TooManyValues if `fill` is set, so that the answer has all these values, and they are too many.
    """
    buckets = question.bucket.count(question.start, question.end) if question.bucket else 1
    if fill and buckets * metrics > AGGREGATE_VALUES_MAX:
        raise TooManyValues(f"{buckets} buckets of {metrics} metrics, {buckets * metrics} values", fill=True)
    return buckets * metrics


def aggregate(question: Question, state: DeviceState, *, large: bool = False) -> Answer:
    """Answers the query. `state` is the recently read state of the device. `large`: fetch the result in pieces.

    Raises TooManyValues.
    """
    for _ in range(ATTEMPTS):
        chosen = plan(
            question.start,
            question.end,
            question.bucket,
            tiers=usable_tiers(state),
            raw_from=state.raw_from,
        )
        found: dict[datetime, dict[str, Statistics]] = defaultdict(lambda: defaultdict(Statistics))
        pauses = Pauses()
        count = 0
        try:
            for start, name, *values in rows(question, chosen, state, large=large):
                bucket = found[start]
                before = len(bucket)
                bucket[name].add(*values)
                count += len(bucket) - before
                if count > AGGREGATE_VALUES_MAX:
                    raise TooManyValues(f"more than {AGGREGATE_VALUES_MAX} values", fill=False)
                if large:
                    pauses.pause()
        except Outdated:
            state.refresh_from_db()
            continue
        return Answer(found, chosen.widened)
    raise AssertionError("retention moves raw_from about once an hour")


def earliest(state: DeviceState) -> datetime | None:
    """The start of a device's statistics: the time of its oldest reading or, if retention deleted older readings, the
    oldest hour in the rollups. None if the device has no readings."""
    readings = Reading.objects.filter(device_id=state.device_id).order_by("timestamp")
    reading = readings.values_list("timestamp", flat=True).first()
    if reading is None or state.raw_from is None:
        return reading
    hours = Rollup.objects.filter(device_id=state.device_id, seconds=HOURS.seconds, start__lt=floor(reading, HOURS))
    return hours.order_by("start").values_list("start", flat=True).first() or reading


def usable_tiers(state: DeviceState) -> list[Tier]:
    """The tiers of the device whose position is at most BEHIND_MAX readings behind its log."""
    positions = ((tier, getattr(state, tier.position)) for tier in (HOURS, MINUTES))
    return [tier for tier, position in positions if position is not None and state.last_seq - position <= BEHIND_MAX]


def rows(question: Question, chosen: Plan, state: DeviceState, *, large: bool) -> Iterator[tuple[Any, ...]]:
    """Yields (start of the bucket, metric, count, sum, min, max); several rows may be for the same bucket and metric.

    Raises Outdated.
    """
    statement = Statement(question, chosen, state)
    current = False
    for label, name, count, *numbers in fetched(*statement.built(), large=large):
        if name:
            yield statement.start_of(label), name, int(count), *map(float, numbers)
        else:
            current = bool(count)
    if not current:
        raise Outdated


def fetched(sql: str, parameters: list[Any], *, large: bool) -> Iterator[tuple[Any, ...]]:
    """The rows of the result. A `large` result is fetched in pieces, so that it is never in memory as a whole."""
    if not large:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            yield from cursor.fetchall()
        return
    # PostgreSQL: a transaction, because outside one a cursor would first write the whole result to disk.
    # SQLite: no transaction, because it would block all writers, and SQLite returns rows as it finds them.
    with (
        transaction.atomic() if connection.vendor == "postgresql" else nullcontext(),
        connection.chunked_cursor() as cursor,
    ):
        cursor.execute(sql, parameters)
        while piece := cursor.fetchmany(FETCHED_ROWS):
            yield from piece


class Statement:
    """Builds the SQL of a query from its plan, with the parameters in the order in which they occur."""

    def __init__(self, question: Question, chosen: Plan, state: DeviceState) -> None:
        self.question, self.chosen, self.state = question, chosen, state
        self.dialect = PostgreSQL() if connection.vendor == "postgresql" else SQLite()
        metrics = question.metrics
        self.columns = [name for name in COLUMNS if metrics is None or name in metrics]
        self.extras = None if metrics is None else [name for name in metrics if name not in COLUMNS]
        self.label, self.label_parameters, self.start_of = label_of(question, self.dialect)

    def built(self) -> tuple[str, list[Any]]:
        sources: list[tuple[str, list[Any]]] = []
        parts: list[tuple[str, list[Any]]] = [self.unchanged()]
        if self.chosen.raw:
            sources.append(self.readings_of(self.chosen.raw))
        for tier in (HOURS, MINUTES):
            if spans := self.chosen.of(tier):
                sources.append(self.not_rolled_up(tier, spans))
                parts.append(self.rollups(tier, spans))
        grouped = self.grouped_columns()
        parts += self.columns_of_readings()
        parts += self.extras_of_readings()
        sql = (
            f"WITH reading AS ({' UNION ALL '.join(sql for sql, _ in sources)}), grouped AS ({grouped[0]}) "
            f"{' UNION ALL '.join(sql for sql, _ in parts)}"
        )
        return sql, [parameter for _, parameters in (*sources, grouped, *parts) for parameter in parameters]

    def unchanged(self) -> tuple[str, list[Any]]:
        """A row that shows whether `raw_from` still has the value for which the plan was made."""
        same = self.dialect.same.format("raw_from", "%s")
        sql = (
            f"SELECT {self.dialect.no_label}, '', CASE WHEN {same} THEN 1 ELSE 0 END, 0.0, 0.0, 0.0 "
            "FROM devices_devicestate WHERE device_id = %s"
        )
        return sql, [moment(self.state.raw_from), self.question.device_id]

    def readings_of(self, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        source, parameters = self.dialect.within(
            spans,
            f"timestamp, {self.values}",
            table="readings_reading",
            where="device_id = %s",
            time="timestamp",
        )
        return f"SELECT timestamp AS at, {self.values} FROM {source}", [*parameters, self.question.device_id]

    def not_rolled_up(self, tier: Tier, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        """Readings after the tier's position, with their times truncated to the hour or minute, as in a rollup.

        The position occurs twice in the statement: the value read before, for the planner, and the current value.
        """
        source, parameters = self.dialect.among(
            spans,
            f"SELECT timestamp, {self.values} FROM readings_reading WHERE device_id = %s AND seq > %s "
            f"AND seq > (SELECT {tier.position} FROM devices_devicestate WHERE device_id = %s)",
            [self.question.device_id, getattr(self.state, tier.position), self.question.device_id],
        )
        return f"SELECT {self.dialect.truncated[tier.seconds]} AS at, {self.values} FROM {source}", parameters

    def rollups(self, tier: Tier, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        names = "" if self.question.metrics is None else f" AND metric IN ({placeholders(self.question.metrics)})"
        source, parameters = self.dialect.within(
            spans,
            "start AS at, metric, count, sum, min, max",
            table="readings_rollup",
            where=f"device_id = %s AND seconds = {tier.seconds}{names}",
            time="start",
        )
        count = self.dialect.whole.format("sum(count)")
        sql = f"SELECT {self.label}, metric, {count}, sum(sum), min(min), max(max) FROM {source} GROUP BY 1, 2"
        return sql, [*self.label_parameters, *parameters, self.question.device_id, *(self.question.metrics or ())]

    def grouped_columns(self) -> tuple[str, list[Any]]:
        """One row per bucket with the statistics of all columns, so that the readings are read only once."""
        figures = [
            f"{function}({name}) AS {name}_{function}"
            for name in self.columns
            for function in ("count", "sum", "min", "max")
        ]
        return (
            f"SELECT {', '.join([f'{self.label} AS label', *figures])} FROM reading GROUP BY 1",
            self.label_parameters,
        )

    def columns_of_readings(self) -> Iterator[tuple[str, list[Any]]]:
        for name in self.columns:
            figures = ", ".join(f"{name}_{function}" for function in ("count", "sum", "min", "max"))
            yield f"SELECT label, '{name}', {figures} FROM grouped WHERE {name}_count > 0", []

    def extras_of_readings(self) -> Iterator[tuple[str, list[Any]]]:
        if self.extras is None or self.extras:
            value = self.dialect.value
            names = "" if self.extras is None else f"WHERE entry.key IN ({placeholders(self.extras)})"
            yield (
                f"SELECT {self.label}, entry.key, count(*), sum({value}), min({value}), max({value}) "
                f"FROM reading, {self.dialect.entries} {names} GROUP BY 1, 2",
                [*self.label_parameters, *(self.extras or ())],
            )

    @property
    def values(self) -> str:
        return ", ".join([*self.columns, *(["extra"] if self.extras is None or self.extras else [])])


def placeholders(values: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(values))


def label_of(question: Question, dialect: PostgreSQL | SQLite) -> tuple[str, list[Any], Start]:
    """SQL for the number of a row's bucket, its parameters, and a function from this number to the bucket's start.

    A rollup hour that begins before the window, as in a widened window, belongs to the first bucket.
    """
    bucket, start = question.bucket, question.start
    if bucket is None:
        return "0", [], lambda _: start
    if not bucket.days:
        # Integer division of whole seconds. No reading is older than the epoch, so no number is negative.
        return (
            f"{dialect.seconds} / {bucket.seconds}",
            [moment(start)],
            lambda n: EPOCH + timedelta(seconds=n * bucket.seconds),
        )
    # Days begin as zoneinfo says, because the database may have another version of the time zone tables.
    starts = list(bucket.starts(start, question.end))
    sql, parameters = dialect.width_bucket(starts)
    return sql, [moment(start), *parameters], lambda n: starts[n - 1]

"""Statistics of a window, whole or by buckets: rollups where they fit, readings where not, in one statement.

One statement is one snapshot: the positions up to which rollups go are read in it, and the readings beyond them are
added. So the answer is that of plain SQL over all readings, whenever the last maintenance was.
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

# From what SQL says of a bucket to its start.
Start = Callable[[Any], datetime]

# A tier that is further behind is left alone, as after a large import: all that is beyond its position would be read
# for every question.
BEHIND_MAX = 100_000

# Of planning anew where retention has moved `raw_from` meanwhile, which it does once an hour.
ATTEMPTS = 3


# Of one answer, buckets times metrics: 24 MB of JSON.
AGGREGATE_VALUES_MAX = 200_000
# Answers that may have more values are fetched in pieces, and made one at a time: each takes up to 80 MB meanwhile.
LARGE_ANSWER_VALUES = 50_000
FETCHED_ROWS = 2_000


class Statistics(msgspec.Struct, gc=False):
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


class BucketStatistics(msgspec.Struct, gc=False):
    """`start` is the bucket's own, in UTC, which for the first bucket may lie before the window's."""

    start: datetime
    metrics: dict[str, Statistics]


class Question(msgspec.Struct, frozen=True):
    """Which device, which window `[start, end)`, which metrics (None: every one there is), in which buckets."""

    device_id: str
    start: datetime
    end: datetime
    metrics: Sequence[str] | None = None
    bucket: Bucket | None = None


class Answer(msgspec.Struct, frozen=True):
    """Statistics by bucket's start and metric. `widened`: the window was widened to whole hours where it begins or
    ends before the readings that are kept."""

    by_bucket: dict[datetime, dict[str, Statistics]]
    widened: bool

    def total(self, question: Question) -> dict[str, Statistics]:
        """Of the whole window; a metric that was asked for and has no value has the count 0."""
        found = self.by_bucket.get(question.start, {})
        return {name: found.get(name, Statistics()) for name in question.metrics or found}

    def buckets(self, question: Question, *, fill: bool) -> Iterator[BucketStatistics]:
        """In order of time; only of what has values, or with `fill` of every bucket and metric.

        Each is forgotten here once it is given.
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
    """The answer has more than AGGREGATE_VALUES_MAX values; the message says how many, and what to change."""

    def __init__(self, count: str, *, fill: bool) -> None:
        ways = ["larger buckets", "fewer metrics (metrics=…)", *(["no fill=null"] if fill else []), "or bucket=auto"]
        super().__init__(
            f"The answer would have {count}; at most {AGGREGATE_VALUES_MAX} are given (the constant "
            f"AGGREGATE_VALUES_MAX). Ask for {', '.join(ways)}."
        )


class Outdated(Exception):
    """Retention has moved on between planning and asking."""


def check_size(question: Question, metrics: int, *, fill: bool) -> int:
    """How many values the answer may have, `metrics` being all that may be in it.

    Raises TooManyValues where that is too many already: with `fill` every bucket and metric is in the answer.
    """
    buckets = question.bucket.count(question.start, question.end) if question.bucket else 1
    if fill and buckets * metrics > AGGREGATE_VALUES_MAX:
        raise TooManyValues(f"{buckets} buckets of {metrics} metrics, {buckets * metrics} values", fill=True)
    return buckets * metrics


def aggregate(question: Question, state: DeviceState, *, large: bool = False) -> Answer:
    """The statistics; `state` is the device's, as it was read a moment ago. `large`: the answer may be.

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
    raise AssertionError("retention moves once an hour")


def earliest(state: DeviceState) -> datetime | None:
    """Where a device's statistics begin: at its oldest reading or, where retention has deleted older ones, at the
    oldest hour that is rolled up. None: nothing was ever measured."""
    readings = Reading.objects.filter(device_id=state.device_id).order_by("timestamp")
    reading = readings.values_list("timestamp", flat=True).first()
    if reading is None or state.raw_from is None:
        return reading
    hours = Rollup.objects.filter(device_id=state.device_id, seconds=HOURS.seconds, start__lt=floor(reading, HOURS))
    return hours.order_by("start").values_list("start", flat=True).first() or reading


def usable_tiers(state: DeviceState) -> list[Tier]:
    """The tiers that the device has and that are close enough behind its log."""
    positions = ((tier, getattr(state, tier.position)) for tier in (HOURS, MINUTES))
    return [tier for tier, position in positions if position is not None and state.last_seq - position <= BEHIND_MAX]


def rows(question: Question, chosen: Plan, state: DeviceState, *, large: bool) -> Iterator[tuple[Any, ...]]:
    """(start of the bucket, metric, count, sum, min, max); a bucket and metric may come in several parts."""
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
    """The rows; of a `large` result in pieces, so that it is never in memory as a whole."""
    if not large:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            yield from cursor.fetchall()
        return
    # PostgreSQL keeps a cursor open in a transaction; outside of one it would write the whole result to disk first.
    # SQLite gives rows as it finds them, and in a transaction would keep everybody else from writing.
    with (
        transaction.atomic() if connection.vendor == "postgresql" else nullcontext(),
        connection.chunked_cursor() as cursor,
    ):
        cursor.execute(sql, parameters)
        while piece := cursor.fetchmany(FETCHED_ROWS):
            yield from piece


class Statement:
    """The SQL of a question, put together from its plan, with its parameters in the order they stand."""

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
        """A row that tells whether `raw_from` is what the plan was made for."""
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
        """Readings beyond the tier's position, each dated by its hour or minute, as its rollup will be.

        The position stands in the statement twice: as it was read before, for the planner, and as it is now.
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
        """Of the readings a row a bucket, so that they are gone through once for all columns."""
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
    """SQL that numbers a row's bucket, its parameters, and what turns that number into the bucket's start.

    An hour that begins before the window, as one of a widened window may, counts to the window's first bucket.
    """
    bucket, start = question.bucket, question.start
    if bucket is None:
        return "0", [], lambda _: start
    if not bucket.days:
        # Whole seconds, divided as whole numbers: no reading is older than the epoch.
        return (
            f"{dialect.seconds} / {bucket.seconds}",
            [moment(start)],
            lambda n: EPOCH + timedelta(seconds=n * bucket.seconds),
        )
    # Days begin where zoneinfo says: the database's own time zone tables may be of another year.
    starts = list(bucket.starts(start, question.end))
    sql, parameters = dialect.width_bucket(starts)
    return sql, [moment(start), *parameters], lambda n: starts[n - 1]

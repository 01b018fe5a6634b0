"""The SQL of an aggregate query, built from its plan: one statement over rollups and readings."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import connection

from devices.metrics import COLUMNS
from devices.models import DeviceState
from readings.log.reading.rows import moment
from readings.log.sources import readings_after, readings_within, rollups_within, rows_within, segments_within
from readings.statistics.buckets import EPOCH, Bucket
from readings.statistics.planning import Plan, Span
from readings.statistics.sealed_rollups import starts_of_blocks
from readings.statistics.sql import PostgreSQL, SQLite
from readings.statistics.tiers import HOURS, MINUTES, Tier

# Converts the label of a bucket, as returned by SQL, to the start of the bucket.
Start = Callable[[Any], datetime]


class Question(msgspec.Struct, frozen=True):
    """An aggregate query: window `[start, end)`, metrics (None: all) and bucket (None: the whole window)."""

    start: datetime
    end: datetime
    metrics: Sequence[str] | None = None
    bucket: Bucket | None = None


class Statement:
    """Builds the SQL of a query about devices with one plan, with the parameters in the order in which they occur.

    A row of the result: the device's place in `states`, the label of the bucket, the metric, count, sum, min, max, and
    twice None. Or of a segment with readings in question: the place, the position after which they count, the name of
    their spans in `sealed_spans`, the first number, three times 0, the last number and the segment. Or of a block of
    rollups: the place, its start in seconds since 1970, the metric, the `seconds` of its tier, three times 0, None and
    the block.
    """

    def __init__(self, question: Question, chosen: Plan, states: Sequence[DeviceState]) -> None:
        self.question, self.chosen, self.states = question, chosen, states
        self.device_ids = [state.device_id for state in states]
        self.sealed = any(state.sealed_seq for state in states)
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
                parts += [self.rollups(tier, spans), self.blocks(tier, spans)]
        grouped = self.grouped_columns()
        parts += self.columns_of_readings()
        parts += self.extras_of_readings()
        parts += self.segments()
        sql = (
            f"WITH reading AS ({' UNION ALL '.join(sql for sql, _ in sources)}), grouped AS ({grouped[0]}) "
            f"{' UNION ALL '.join(sql for sql, _ in parts)}"
        )
        return sql, [parameter for _, parameters in (*sources, grouped, *parts) for parameter in parameters]

    def unchanged(self) -> tuple[str, list[Any]]:
        """A row without a metric: how many devices still have the `raw_from` for which the plan was made, and nothing
        sealed if nothing was: segments are not looked for then."""
        raw_from = [state.raw_from for state in self.states]
        unsealed = "" if self.sealed else "AND state.sealed_seq = 0"
        if len(raw_from) == 1:
            same = self.dialect.same.format("raw_from", "%s")
            count = (
                f"SELECT CASE WHEN {same} {unsealed} THEN 1 ELSE 0 END FROM devices_devicestate AS state "
                "WHERE device_id = %s"
            )
            parameters = [moment(raw_from[0]), self.device_ids[0]]
        else:
            count = f"{self.dialect.unchanged} {unsealed}"
            parameters = self.dialect.pairs(self.device_ids, raw_from)
        figures = f"({count}), 0.0, 0.0, 0.0, {self.dialect.no_segment}"
        return f"SELECT {self.dialect.first}, {self.dialect.no_label}, '', {figures}", parameters

    def readings_of(self, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        source, parameters = readings_within(spans, f"timestamp, {self.values}", device_ids=self.device_ids)
        return f"SELECT place, timestamp AS at, {self.values} FROM {source}", parameters

    def not_rolled_up(self, tier: Tier, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        """Readings after the tier's position, with their times truncated to the hour or minute, as in a rollup."""
        source, parameters = readings_after(
            spans,
            f"timestamp, {self.values}",
            position=tier.position,
            positions={state.device_id: getattr(state, tier.position) for state in self.states},
        )
        return f"SELECT place, {self.dialect.truncated[tier.seconds]} AS at, {self.values} FROM {source}", parameters

    def rollups(self, tier: Tier, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        source, parameters = rollups_within(
            spans,
            "start AS at, metric, count, sum, min, max",
            where=self.of_tier(tier),
            device_ids=self.device_ids,
        )
        count = self.dialect.whole.format("sum(count)")
        # Of each block by itself and in the order of time, because a sum of doubles depends on the order of additions,
        # and has to stay the same when the block is sealed.
        block = f", {self.dialect.block.format(int(tier.block.total_seconds()))}" if self.crosses_blocks(tier) else ""
        sql = (
            f"SELECT place, {self.label}, metric, {count}, sum(sum), min(min), max(max), {self.dialect.no_segment} "
            f"FROM {source} GROUP BY 1, 2, 3{block}{self.dialect.unsorted}"
        )
        return sql, [*self.label_parameters, *parameters, *(self.question.metrics or ())]

    def blocks(self, tier: Tier, spans: Sequence[Span]) -> tuple[str, list[Any]]:
        source, parameters = rows_within(
            starts_of_blocks(spans, tier),
            "start AS at, metric, data",
            table="readings_rollupblock",
            where=self.of_tier(tier),
            time="start",
            device_ids=self.device_ids,
        )
        figures = f"{self.dialect.whole.format(tier.seconds)}, 0.0, 0.0, 0.0, {self.dialect.no_label}, data"
        sql = f"SELECT place, {self.dialect.whole_seconds}, metric, {figures} FROM {source}"
        return sql, [*parameters, *(self.question.metrics or ())]

    def of_tier(self, tier: Tier) -> str:
        """A condition for rollups of the metrics in question; its parameters are these metrics."""
        names = "" if self.question.metrics is None else f" AND metric IN ({placeholders(self.question.metrics)})"
        return f"seconds = {tier.seconds}{names}"

    def crosses_blocks(self, tier: Tier) -> bool:
        """Whether a bucket can have rollups of several blocks."""
        bucket = self.question.bucket
        return bucket is None or bool(bucket.days) or bool(tier.block % timedelta(seconds=bucket.seconds))

    def grouped_columns(self) -> tuple[str, list[Any]]:
        """One row per device and bucket with the statistics of all columns, so that the readings are read once."""
        figures = [
            f"{function}({name}) AS {name}_{function}"
            for name in self.columns
            for function in ("count", "sum", "min", "max")
        ]
        return (
            f"SELECT {', '.join(['place', f'{self.label} AS label', *figures])} FROM reading GROUP BY 1, 2",
            self.label_parameters,
        )

    def columns_of_readings(self) -> Iterator[tuple[str, list[Any]]]:
        for name in self.columns:
            figures = ", ".join(f"{name}_{function}" for function in ("count", "sum", "min", "max"))
            figures += f", {self.dialect.no_segment}"
            yield f"SELECT place, label, '{name}', {figures} FROM grouped WHERE {name}_count > 0", []

    def extras_of_readings(self) -> Iterator[tuple[str, list[Any]]]:
        if self.extras is None or self.extras:
            value = self.dialect.value
            names = "" if self.extras is None else f"WHERE entry.key IN ({placeholders(self.extras)})"
            yield (
                f"SELECT place, {self.label}, entry.key, count(*), sum({value}), min({value}), max({value}), "
                f"{self.dialect.no_segment} FROM reading, {self.dialect.entries} {names} GROUP BY 1, 2, 3",
                [*self.label_parameters, *(self.extras or ())],
            )

    @property
    def sealed_spans(self) -> dict[str, Sequence[Span]]:
        """The spans in which readings of segments count, by the column of DeviceState after whose position they do.

        Of all numbers: "". After a tier's position there are sealed readings only while minutes are caught up.
        """
        spans: dict[str, Sequence[Span]] = {"": self.chosen.raw} if self.chosen.raw and self.sealed else {}
        for tier in (HOURS, MINUTES):
            of_tier = self.chosen.of(tier)
            if of_tier and any(getattr(state, tier.position) < state.sealed_seq for state in self.states):
                spans[tier.position] = of_tier
        return spans

    def segments(self) -> Iterator[tuple[str, list[Any]]]:
        for position, spans in self.sealed_spans.items():
            source, parameters = segments_within(spans, position=position, device_ids=self.device_ids)
            after = self.dialect.whole.format("position")
            figures = "first_seq, 0.0, 0.0, 0.0, last_seq, data"
            yield f"SELECT place, {after}, '{position}', {figures} FROM {source}", parameters

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

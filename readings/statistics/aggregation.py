"""Statistics of a window, in total or by buckets, from rollups where possible and otherwise from readings.

One statement reads one snapshot: it reads the positions of the rollups and adds the readings after these positions.
Therefore the answer always equals plain SQL over all readings, whenever maintenance last ran.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction

from devices.cpu_pool import Pauses
from devices.database.work_kinds import STATEMENT_SECONDS, DatabaseTimeout, current_work
from devices.models import DeviceState
from devices.times import rfc3339
from readings.log.reading.opened import Opened
from readings.statistics.averages import average
from readings.statistics.buckets import EPOCH, BucketPlaces
from readings.statistics.planning import Plan, plan
from readings.statistics.sealed import SealedStatistics
from readings.statistics.sealed_rollups import SealedRollups
from readings.statistics.statement import Question, Statement
from readings.statistics.summing import total
from readings.statistics.tiers import HOURS, MINUTES, Tier

# A tier whose position is more readings behind the log is not used (after a large import, for example), because every
# query would have to read all readings after this position.
BEHIND_MAX = 100_000

# Attempts to plan a query again if retention moved `raw_from` between planning and execution (about once an hour), or
# readings of a device were sealed for the first time.
ATTEMPTS = 3


# Maximum number of values (buckets times metrics) in an answer: 24 MB of JSON.
AGGREGATE_VALUES_MAX = 200_000
# An answer that may have more values is fetched in pieces. Only one such answer is made at a time (up to 80 MB).
LARGE_ANSWER_VALUES = 50_000
FETCHED_ROWS = 2_000
# Segments are fetched in smaller pieces, of about 1 MB, if the readings of more time than this are added up.
FETCHED_SEGMENTS = 50
READINGS_AT_ONCE = timedelta(days=1)
# Blocks of rollups are fetched in pieces, of about 2 MB, if there may be more of one metric.
BLOCKS_AT_ONCE = 50


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
        self.min = smallest if self.min is None else min(self.min, smallest)
        self.max = largest if self.max is None else max(self.max, largest)
        self.avg = average(self.count, self.sum, self.min, self.max)

    def correct(self, total: float) -> None:
        """Sets the sum of at least one value."""
        assert self.min is not None
        assert self.max is not None
        self.sum = total
        self.avg = average(self.count, total, self.min, self.max)


class BucketStatistics(msgspec.Struct, gc=False):
    """Statistics by metric of one bucket. `start`: RFC 3339; the first bucket may start before the window."""

    start: str
    metrics: dict[str, Statistics]


class Answer(msgspec.Struct, frozen=True):
    """Statistics by start of the bucket and metric.

    `widened`: an edge of the window or of a bucket in the time of deleted readings was widened to whole hours.
    """

    by_bucket: dict[datetime, dict[str, Statistics]]
    widened: bool

    def total(self, question: Question) -> dict[str, Statistics]:
        """Statistics of the whole window by metric, in the order of the query or of the names.

        A requested metric without values has the count 0.
        """
        found = self.by_bucket.get(question.start, {})
        return {name: found.get(name, Statistics()) for name in question.metrics or sorted(found)}

    def buckets(self, question: Question, *, fill: bool) -> Iterator[BucketStatistics]:
        """The buckets in order of time, metrics by name: those with values, or with `fill` all buckets and metrics.

        Each bucket is removed from the answer when it is yielded, to free its memory.
        """
        assert question.bucket is not None
        if not fill:
            for start in sorted(self.by_bucket):
                found = self.by_bucket.pop(start)
                yield BucketStatistics(rfc3339(start), {name: found[name] for name in sorted(found)})
            return
        names = sorted({*(question.metrics or ()), *(name for found in self.by_bucket.values() for name in found)})
        for start in question.bucket.starts(question.start, question.end):
            found = self.by_bucket.pop(start, {})
            yield BucketStatistics(rfc3339(start), {name: found.get(name) or Statistics() for name in names})


class TooManyValues(Exception):
    """The answer would have more than AGGREGATE_VALUES_MAX values. The message says how many, and what to change."""

    def __init__(self, count: str, *, fill: bool, devices: int = 1) -> None:
        ways = ["larger buckets", "fewer metrics (metrics=…)", *(["fewer devices"] if devices > 1 else [])]
        ways += [*(["no fill=null"] if fill else []), "or bucket=auto"]
        super().__init__(
            f"The answer would have {count}; the maximum is {AGGREGATE_VALUES_MAX} (the constant "
            f"AGGREGATE_VALUES_MAX). Request {', '.join(ways)}."
        )


class Outdated(Exception):
    """Retention moved `raw_from`, or the first readings were sealed, between planning a query and its execution."""


def check_size(question: Question, metrics: int, *, fill: bool, devices: int = 1) -> int:
    """The maximum number of values of the answer; `metrics` is the number of metrics, of all devices together.

    Raises TooManyValues if `fill` is set, so that the answer has all these values, and they are too many.
    """
    buckets = question.bucket.count(question.start, question.end) if question.bucket else 1
    if fill and buckets * metrics > AGGREGATE_VALUES_MAX:
        of = f"{metrics} metrics" if devices == 1 else f"{metrics} metrics of {devices} devices"
        raise TooManyValues(f"{buckets} buckets of {of}, {buckets * metrics} values", fill=True, devices=devices)
    return buckets * metrics


def aggregate(question: Question, state: DeviceState, *, large: bool = False) -> Answer:
    """Answers the query for one device. `state` is its recently read state. `large`: fetch the result in pieces.

    Raises TooManyValues, and DeviceState.DoesNotExist if the device was erased meanwhile.
    """
    return aggregate_each(question, [state], large=large)[state.device_id]


def aggregate_each(question: Question, states: Sequence[DeviceState], *, large: bool = False) -> dict[str, Answer]:
    """The answer for each of these devices, by device id, with one statement for all that have the same plan; in a
    distributed database, with one for each device.

    Each answer is exact at a moment; devices with different plans are asked one after the other. Raises as `aggregate`.
    """
    answers: dict[str, Answer] = {}
    count = 0
    waiting = list(states)
    for _ in range(ATTEMPTS):
        outdated: list[str] = []
        for chosen, alike in plans(question, waiting):
            try:
                found = answered(question, chosen, alike, count=count, devices=len(states), large=large)
                for device_id, answer in found.items():
                    answers[device_id] = answer
                    count += sum(map(len, answer.by_bucket.values()))
            except Outdated:
                outdated += [state.device_id for state in alike]
        if not outdated:
            return {state.device_id: answers[state.device_id] for state in states}
        waiting = list(DeviceState.objects.filter(device_id__in=outdated))
        if len(waiting) < len(outdated):
            raise DeviceState.DoesNotExist
    raise AssertionError("retention moves raw_from about once an hour, and a log is sealed for the first time once")


def plans(question: Question, states: Sequence[DeviceState]) -> Iterator[tuple[Plan, list[DeviceState]]]:
    """The devices by what their plan depends on, each with the plan.

    In a distributed database each device alone, because a statement is about the devices of one shard, of which there
    are hardly fewer than devices that one asks for.
    """
    groups: dict[tuple[Any, ...], list[DeviceState]] = defaultdict(list)
    for state in states:
        raw_from = state.raw_from if state.raw_from is not None and question.start < state.raw_from else None
        alone = state.device_id if settings.DISTRIBUTED else None
        groups[(alone, raw_from, *usable_tiers(state))].append(state)
    for (_, raw_from, *tiers), alike in groups.items():
        yield plan(question.start, question.end, question.bucket, tiers=tiers, raw_from=raw_from), alike


def answered(
    question: Question, chosen: Plan, states: Sequence[DeviceState], *, count: int, devices: int, large: bool
) -> dict[str, Answer]:
    """The answers for devices with this plan, by device id.

    `count`: the values of the answers so far. `devices`: how many devices are asked for, with any plan.

    Raises TooManyValues and Outdated.
    """
    found: list[dict[datetime, dict[str, Statistics]]] = [defaultdict(lambda: defaultdict(Statistics)) for _ in states]
    sums: dict[tuple[int, datetime, str], list[float]] = {}  # of values that come in several rows
    pauses = Pauses()
    for place, start, name, *values in rows(question, chosen, states, large=large):
        statistics = found[place][start][name]
        if statistics.count:
            sums.setdefault((place, start, name), [statistics.sum]).append(values[1])
        else:
            count += 1
        statistics.add(*values)
        if count > AGGREGATE_VALUES_MAX:
            raise TooManyValues(f"more than {AGGREGATE_VALUES_MAX} values", fill=False, devices=devices)
        if large:
            pauses.pause()
    # The order of the rows is not always the same.
    for (place, start, name), parts in sums.items():
        found[place][start][name].correct(total(parts))
    return {state.device_id: Answer(by_bucket, chosen.widened) for state, by_bucket in zip(states, found, strict=True)}


def usable_tiers(state: DeviceState) -> list[Tier]:
    """The tiers of the device whose position is at most BEHIND_MAX readings behind its log."""
    positions = ((tier, getattr(state, tier.position)) for tier in (HOURS, MINUTES))
    return [tier for tier, position in positions if position is not None and state.last_seq - position <= BEHIND_MAX]


def rows(question: Question, chosen: Plan, states: Sequence[DeviceState], *, large: bool) -> Iterator[tuple[Any, ...]]:
    """Yields (index in `states`, start of the bucket, metric, count, sum, min, max).

    Several rows may be for the same device, bucket and metric. Raises Outdated.
    """
    statement = Statement(question, chosen, states)
    first, spans = statement.dialect.first, statement.sealed_spans
    sealed = SealedStatistics(question.start, question.end, question.bucket, question.metrics)
    deadline = time.monotonic() + STATEMENT_SECONDS[current_work.get()]
    pauses = Pauses()
    buckets = BucketPlaces(question.start, question.end, question.bucket)
    blocks = {tier.seconds: SealedRollups(tier, chosen.of(tier), buckets, pauses) for tier in (HOURS, MINUTES)}
    current = False
    pieces = (
        FETCHED_SEGMENTS if many_segments(chosen) else FETCHED_ROWS if large or many_blocks(chosen, states) else None
    )
    for place, label, name, count, *numbers, last_seq, data in fetched(*statement.built(), pieces=pieces):
        if data is not None:
            if time.monotonic() > deadline:
                raise DatabaseTimeout("what is sealed could not be added up within the deadline of a statement")
            device_id = states[place - first].device_id
            if last_seq is None:
                begins = EPOCH + timedelta(seconds=label)
                for start, *figures in blocks[count].of(device_id, name, begins, data):
                    yield place - first, start, name, *figures
                continue
            sealed.add(place, Opened(device_id, count, last_seq, data, pauses), spans[name], after=label)
            if len(sealed) > AGGREGATE_VALUES_MAX:
                break
        elif name:
            yield place - first, statement.start_of(label), name, int(count), *map(float, numbers)
        else:
            current = count == len(states)
    for place, start, name, *figures in sealed.taken():
        yield place - first, start, name, *figures
    if not current:
        raise Outdated


def many_blocks(chosen: Plan, states: Sequence[DeviceState]) -> bool:
    """Whether the plan asks for rollups of so much time that they may be in many blocks."""
    blocks = sum((span.end - span.start) / tier.block for tier in (HOURS, MINUTES) for span in chosen.of(tier))
    return blocks * len(states) > BLOCKS_AT_ONCE


def many_segments(chosen: Plan) -> bool:
    """Whether the plan asks for readings of so much time that they may be in many segments."""
    return sum((span.end - span.start for span in chosen.raw), timedelta()) > READINGS_AT_ONCE


def fetched(sql: str, parameters: list[Any], *, pieces: int | None) -> Iterator[tuple[Any, ...]]:
    """The rows of the result, fetched so many at a time that they fit into memory; None: all at once."""
    if pieces is None:
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
        while piece := cursor.fetchmany(pieces):
            yield from piece

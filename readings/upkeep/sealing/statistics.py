"""Statistics of sealed readings by hour or minute: for rollups that begin when readings are sealed, and to verify."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec
from django.db import connection

from readings.log.reading.rows import moment
from readings.models import Segment
from readings.statistics.tiers import Tier
from readings.upkeep.sealing.stored_segments import columns_of
from readings.windows import EARLIEST, LATEST

MICROSECONDS = 1_000_000
ALWAYS = (0, (LATEST - EARLIEST) // timedelta(microseconds=1))

ADD = """
INSERT INTO readings_rollup AS rollup (device_id, seconds, start, metric, count, sum, min, max)
SELECT %s, %s, part.* FROM unnest(
    %s::timestamptz[], %s::text[], %s::bigint[], %s::float8[], %s::float8[], %s::float8[]
) AS part (start, metric, count, sum, min, max)
ON CONFLICT (device_id, seconds, start, metric) DO UPDATE SET
    count = rollup.count + excluded.count, sum = rollup.sum + excluded.sum,
    min = least(rollup.min, excluded.min), max = greatest(rollup.max, excluded.max)
"""
ADD_SQLITE = """
INSERT INTO readings_rollup (device_id, seconds, start, metric, count, sum, min, max)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (device_id, seconds, start, metric) DO UPDATE SET
    count = count + excluded.count, sum = sum + excluded.sum,
    min = min(min, excluded.min), max = max(max, excluded.max)
"""


class Rollup(msgspec.Struct, frozen=True):
    """A row of `readings.models.Rollup` without its device and width."""

    start: datetime
    metric: str
    count: int
    sum: float
    min: float
    max: float


class Numbers(msgspec.Struct, gc=False):
    """Statistics of at least one value of a metric."""

    count: int
    sum: float
    min: float
    max: float

    def add(self, value: float) -> None:
        self.count += 1
        self.sum += value
        if value < self.min:
            self.min = value
        if value > self.max:
            self.max = value


# By the start, in microseconds since 1970, and metric.
Statistics = dict[tuple[int, str], Numbers]


def add_values(found: Statistics, entries: Iterable[tuple[int, str, float]]) -> None:
    """Adds values, each with the start of its rollup and its metric."""
    for start, name, value in entries:
        numbers = found.get((start, name))
        if numbers is None:
            found[(start, name)] = Numbers(1, value, value, value)
        else:
            numbers.add(value)


def values_of(
    segment: Segment, tier: Tier, *, after: int, until: int, times: tuple[int, int] = ALWAYS
) -> Iterator[tuple[int, str, float]]:
    """The values of the readings with `after < seq <= until` and a time in `times`, as `add_values` takes them.

    `times`: half-open, in microseconds since 1970. Raises LogDamaged.
    """
    width = tier.seconds * MICROSECONDS
    found = columns_of(segment)
    places = [
        place
        for place, (seq, at) in enumerate(zip(found.seqs, found.times, strict=True))
        if after < seq <= until and times[0] <= at < times[1]
    ]
    starts = {place: found.times[place] // width * width for place in places}
    for name, values in found.metrics.items():
        for place in places:
            if (value := values[place]) is not None:
                yield starts[place], name, float(value)


def roll_up_sealed(tier: Tier, device_id: str, *, after: int, until: int) -> datetime | None:
    """Adds the sealed readings with `after < seq <= until` to the rollups, within the caller's transaction.

    Returns the start of the first rollup to which it added, None if there is none. Raises LogDamaged.
    """
    found: Statistics = {}
    for segment in Segment.objects.filter(device_id=device_id, first_seq__lte=until, last_seq__gt=after):
        add_values(found, values_of(segment, tier, after=after, until=until))
    rollups = [
        Rollup(EARLIEST + timedelta(microseconds=start), name, numbers.count, numbers.sum, numbers.min, numbers.max)
        for (start, name), numbers in sorted(found.items(), key=lambda entry: entry[0])
    ]
    add_rollups(device_id, tier, rollups)
    return rollups[0].start if rollups else None


def add_rollups(device_id: str, tier: Tier, rollups: Sequence[Rollup]) -> None:
    """Adds these, each of another start and metric, to the rows of the device, within the caller's transaction."""
    rows = [msgspec.structs.astuple(rollup) for rollup in rollups]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            columns = [list(column) for column in zip(*rows, strict=True)] or [[]] * 6
            cursor.execute(ADD, [device_id, tier.seconds, *columns])
        else:
            cursor.executemany(ADD_SQLITE, [(device_id, tier.seconds, moment(row[0]), *row[1:]) for row in rows])

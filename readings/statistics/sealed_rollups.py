"""Statistics of sealed rollups, computed from their blocks as SQL computes them from rows: in the order of time."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from devices.cpu_pool import Pauses
from readings.log.damage import StatisticsDamaged
from readings.log.segments.integers import Damaged
from readings.log.segments.rollup_block import Columns, decode
from readings.log.segments.values import Number, Scaled
from readings.statistics.buckets import BucketPlaces, microseconds
from readings.statistics.planning import Span, block_start
from readings.statistics.summing import adder, largest, smallest
from readings.statistics.tiers import Tier

MICROSECONDS = 1_000_000


def opened(device_id: str, tier: Tier, metric: str, start: datetime, data: bytes | memoryview) -> Columns:
    """The rollups of a block. Raises StatisticsDamaged."""
    try:
        return decode(bytes(data))
    except Damaged as error:
        raise StatisticsDamaged(device_id, metric, start, start + tier.block, str(error)) from error


def starts_of_blocks(spans: Sequence[Span], tier: Tier) -> list[Span]:
    """Spans in which each block with rollups of these spans begins, each once. The spans are in order."""
    found: list[Span] = []
    for span in spans:
        start = block_start(span.start, tier)
        if found and start < found[-1].end:
            # The previous span ends within this block, or in it begins the next one.
            start += tier.block
        if start < span.end:
            found.append(Span(start, span.end))
    return found


class SealedRollups:
    """Statistics by bucket of blocks of a tier, of which the rollups in the spans count. The spans are in order."""

    def __init__(self, tier: Tier, spans: Sequence[Span], buckets: BucketPlaces, pauses: Pauses) -> None:
        self.tier, self.spans, self.buckets, self.pauses = tier, spans, buckets, pauses

    def of(
        self, device_id: str, metric: str, start: datetime, data: bytes
    ) -> Iterator[tuple[datetime, int, float, float, float]]:
        """Start of the bucket, count, sum, minimum and maximum, by time. Raises StatisticsDamaged."""
        columns = opened(device_id, self.tier, metric, start, data)
        first = bisect_right(self.spans, start, key=lambda span: span.end)
        until = bisect_left(self.spans, start + self.tier.block, first, key=lambda span: span.start)
        inside = [
            (bisect_left(columns.starts, self.units(span.start)), bisect_left(columns.starts, self.units(span.end)))
            for span in self.spans[first:until]
        ]
        low, until = inside[0] if inside else (0, 0)
        if len(inside) > 1:
            columns = columns.at([place for begin, end in inside for place in range(begin, end)])
            low, until = 0, len(columns.starts)
        starts, counts, sums, minima, maxima = columns
        width, added = self.tier.seconds * MICROSECONDS, adder()
        while low < until:
            bucket, following = self.buckets.of(starts[low] * width)
            high = bisect_left(starts, -(-following // width), low, until)
            yield (
                bucket,
                sum(counts[low:high]),
                added(sums[low:high]),
                one_of(smallest, minima, low, high),
                one_of(largest, maxima, low, high),
            )
            low = high
        self.pauses.pause()

    def units(self, moment: datetime) -> int:
        """An edge of a rollup, in hours or minutes since 1970."""
        return microseconds(moment) // (self.tier.seconds * MICROSECONDS)


def one_of(chosen: Callable[[Sequence[Number]], Number], column: Scaled, low: int, high: int) -> float:
    """The smallest or largest of a part of the column."""
    found = chosen(column.numbers[low:high])
    return found / column.power if column.power else found

"""Statistics of sealed rollups, computed from their blocks as SQL computes them from rows: in the order of time."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime

from devices.cpu_pool import Pauses
from readings.log.damage import StatisticsDamaged
from readings.log.segments.integers import Damaged
from readings.log.segments.rollup_block import Columns, decode
from readings.statistics.buckets import BucketPlaces, microseconds
from readings.statistics.planning import Span, block_start
from readings.statistics.summing import largest, smallest, summed
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
        until = bisect_left(self.spans, start + self.tier.block, key=lambda span: span.start)
        inside = [
            (bisect_left(columns.starts, self.units(span.start)), bisect_left(columns.starts, self.units(span.end)))
            for span in self.spans[first:until]
        ]
        if inside != [(0, len(columns.starts))]:
            columns = columns.at([place for low, high in inside for place in range(low, high)])
        starts, counts, sums, minima, maxima = columns
        low, count, width = 0, len(starts), self.tier.seconds * MICROSECONDS
        while low < count:
            bucket, following = self.buckets.of(starts[low] * width)
            high = bisect_left(starts, -(-following // width), low)
            figures = (
                sum(counts[low:high]),
                summed(sums[low:high]),
                smallest(minima[low:high]),
                largest(maxima[low:high]),
            )
            yield bucket, *figures
            low = high
        self.pauses.pause()

    def units(self, moment: datetime) -> int:
        """An edge of a rollup, in hours or minutes since 1970."""
        return microseconds(moment) // (self.tier.seconds * MICROSECONDS)

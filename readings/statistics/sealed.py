"""Statistics of sealed readings, computed from the columns of their segments as SQL computes them from rows."""

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from readings.log.reading.opened import Opened
from readings.log.segments.sealed import MICROSECOND
from readings.log.segments.values import Number
from readings.statistics.buckets import EPOCH, Bucket, BucketPlaces, microseconds
from readings.statistics.planning import Span
from readings.statistics.summing import summed

# Count, sum, minimum and maximum.
Figures = tuple[int, float, float, float]


class SealedStatistics:
    """Adds segments one after the other. `values`: how many figures there are.

    `bucket` None: the whole window. `metrics` None: all.
    """

    def __init__(self, start: datetime, end: datetime, bucket: Bucket | None, metrics: Collection[str] | None) -> None:
        self.metrics, self.buckets = metrics, BucketPlaces(start, end, bucket)
        self.figures: dict[tuple[int, datetime, str], Figures] = {}

    def __len__(self) -> int:
        return len(self.figures)

    def add(self, place: int, segment: Opened, spans: Sequence[Span], *, after: int = 0) -> None:
        """Adds the readings of the segment with times in the spans and numbers above `after`. Raises LogDamaged.

        `place`: of the device, as in the rows of the statement. The spans are in order and do not overlap.
        """
        order: Sequence[int] = range(segment.count)
        times = segment.times
        if any(map(operator.gt, times, times[1:])):
            order = sorted(order, key=times.__getitem__)
            times = [times[number] for number in order]
        first, last = EPOCH + times[0] * MICROSECOND, EPOCH + times[-1] * MICROSECOND
        begin = bisect_right(spans, first, key=lambda span: span.end)
        end = bisect_right(spans, last, key=lambda span: span.start)
        if after >= segment.first_seq:
            chosen = [number for number, at in zip(order, times, strict=True) if segment.seqs[number] > after]
            order, times = chosen, [segment.times[number] for number in chosen]
        columns = {name: segment.metric(name) for name in segment.directory.metrics if self.asks_for(name)}
        for span in spans[begin:end]:
            low = bisect_left(times, microseconds(span.start))
            high = bisect_left(times, microseconds(span.end))
            while low < high:
                start, following = self.buckets.of(times[low])
                until = bisect_left(times, following, low, high)
                for name, column in columns.items():
                    self.count(place, start, name, values_of(column, order[low:until]))
                low = until
                segment.pauses.pause()

    def asks_for(self, name: str) -> bool:
        return self.metrics is None or name in self.metrics

    def count(self, place: int, start: datetime, name: str, values: Sequence[float]) -> None:
        if not values:
            return
        key = place, start, name
        before = self.figures.get(key)
        if before is None:
            self.figures[key] = len(values), summed(values), min(values), max(values)
        else:
            number, total, smallest, largest = before
            self.figures[key] = (
                number + len(values),
                summed([total, *values]),
                min(smallest, *values),
                max(largest, *values),
            )

    def taken(self) -> Iterator[tuple[int, datetime, str, int, float, float, float]]:
        """Place, start of the bucket, metric and figures of all that was added; forgets it."""
        while self.figures:
            key, figures = self.figures.popitem()
            yield (*key, *figures)


def values_of(column: Sequence[Number | None], places: Sequence[int]) -> list[float]:
    found = column[places.start : places.stop] if isinstance(places, range) else [column[place] for place in places]
    return [float(value) for value in found if value is not None]

"""Statistics of sealed readings, computed from the columns of their segments as SQL computes them from rows."""

import operator
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from functools import reduce
from math import fsum

from django.db import connection

from readings.log.reading.opened import Opened
from readings.log.segments.sealed import MICROSECOND
from readings.log.segments.values import Number
from readings.statistics.buckets import EPOCH, Bucket
from readings.statistics.planning import Span

# From this version on, SQLite corrects sums for what rounding lost, as `fsum` does.
CORRECTED_SUMS = (3, 43)

# Count, sum, minimum and maximum.
Figures = tuple[int, float, float, float]


class SealedStatistics:
    """Adds segments one after the other. `values`: how many figures there are.

    `bucket` None: the whole window. `metrics` None: all.
    """

    def __init__(self, start: datetime, end: datetime, bucket: Bucket | None, metrics: Collection[str] | None) -> None:
        self.bucket, self.metrics, self.end = bucket, metrics, microseconds(end)
        self.figures: dict[tuple[int, datetime, str], Figures] = {}
        starts = [start] if bucket is None else bucket.starts(start, end) if bucket.days else ()
        # Of the whole window and of days; other buckets are computed.
        self.starts = list(starts)
        self.edges = [microseconds(moment) for moment in self.starts]
        self.corrects = connection.vendor == "sqlite" and sqlite3.sqlite_version_info >= CORRECTED_SUMS

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
                start, following = self.bucket_of(times[low])
                until = bisect_left(times, following, low, high)
                for name, column in columns.items():
                    self.count(place, start, name, values_of(column, order[low:until]))
                low = until
                segment.pauses.pause()

    def asks_for(self, name: str) -> bool:
        return self.metrics is None or name in self.metrics

    def bucket_of(self, at: int) -> tuple[datetime, int]:
        """The start of the bucket with this time, and where the next one begins, in microseconds since 1970."""
        if self.bucket is None or self.bucket.days:
            number = bisect_right(self.edges, at)
            return self.starts[number - 1], self.edges[number] if number < len(self.edges) else self.end
        width = self.bucket.seconds * 1_000_000
        begins = at // width * width
        return EPOCH + begins * MICROSECOND, begins + width

    def count(self, place: int, start: datetime, name: str, values: Sequence[float]) -> None:
        if not values:
            return
        key = place, start, name
        before = self.figures.get(key)
        if before is None:
            self.figures[key] = len(values), self.sum(values), min(values), max(values)
        else:
            number, total, smallest, largest = before
            self.figures[key] = (
                number + len(values),
                self.sum([total, *values]),
                min(smallest, *values),
                max(largest, *values),
            )

    def sum(self, values: Sequence[float]) -> float:
        """In their order, because `sum` is more exact from Python 3.12 on."""
        return fsum(values) if self.corrects else reduce(operator.add, values)

    def taken(self) -> Iterator[tuple[int, datetime, str, int, float, float, float]]:
        """Place, start of the bucket, metric and figures of all that was added; forgets it."""
        while self.figures:
            key, figures = self.figures.popitem()
            yield (*key, *figures)


def values_of(column: Sequence[Number | None], places: Sequence[int]) -> list[float]:
    found = column[places.start : places.stop] if isinstance(places, range) else [column[place] for place in places]
    return [float(value) for value in found if value is not None]


def microseconds(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND

"""The values of the metrics that rules judge, by device and metric, in the order of the log."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from devices.metrics import COLUMNS
from readings.alarms.conditions.states import Run, Sample
from readings.alarms.evaluation.positions import Newest, Part
from readings.log import reader
from readings.windows import EARLIEST

MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Since 1970."""
    return (at - EARLIEST) // MICROSECOND


class Column:
    """The values of one metric of a device: their positions in the log, their times, and the values, equally many.

    `before`: the newest time of the metric before them, in microseconds; None: it had no values. A value is late if it
    is older than the newest one before it. `arrived`: when the last one arrived, or a few seconds later; None: now.
    """

    __slots__ = ("arrived", "before", "found_newest", "seqs", "times", "values")

    def __init__(
        self,
        before: int | None = None,
        seqs: list[int] | None = None,
        times: list[datetime] | None = None,
        values: list[float] | None = None,
    ) -> None:
        self.before = before
        self.seqs, self.times, self.values = seqs or [], times or [], values or []
        self.arrived: datetime | None = None
        self.found_newest: int | None = None

    def add(self, seq: int, at: datetime, value: float) -> None:
        self.seqs.append(seq)
        self.times.append(at)
        self.values.append(value)

    def newest(self) -> int:
        """The newest time of the metric, in microseconds, after all values were added."""
        if self.found_newest is None:
            newest = microseconds(max(self.times))
            self.found_newest = newest if self.before is None else max(newest, self.before)
        return self.found_newest

    def run(self) -> Run | None:
        """All values, if none of them is late and there are any."""
        times = self.times
        if len(times) > 1 and times != sorted(times):
            return None
        if not times or (self.before is not None and microseconds(times[0]) < self.before):
            return None
        return Run(times, self.values, min(self.values), max(self.values))

    def samples(self, after_seq: int = 0) -> list[Sample]:
        """The values after this position."""
        found: list[Sample] = []
        newest = None if self.before is None else EARLIEST + self.before * MICROSECOND
        for seq, at, value in zip(self.seqs, self.times, self.values, strict=True):
            late = newest is not None and at < newest
            if not late:
                newest = at
            if seq > after_seq:
                found.append(Sample(at, value, late))
        return found


# The columns of a device by metric; only those with values.
Series = dict[str, Column]


def newest_after(part: Part, series: Series) -> Newest:
    """The newest time of each metric after these values."""
    return part.newest | {metric: column.newest() for metric, column in series.items()}


def read_series(parts: Sequence[Part], metrics: frozenset[str]) -> dict[str, Series]:
    """The values of these metrics in these parts, by device id. Readings that retention deleted are missing."""
    found: dict[str, Series] = {part.device_id: {} for part in parts}
    newest = {part.device_id: part.newest for part in parts}
    columns = [(place, name) for place, name in enumerate(COLUMNS, start=3) if name in metrics]
    extras = metrics.difference(COLUMNS)
    place_of_extra = 3 + len(COLUMNS)
    for row in reader.parts(parts, with_extra=bool(extras)):
        device_id, seq, at = row[:3]
        values = {name: row[place] for place, name in columns if row[place] is not None}
        if extras:
            extra: dict[str, float] = row[place_of_extra]
            values |= {name: float(extra[name]) for name in extras & extra.keys()}
        series = found[device_id]
        for name, value in values.items():
            column = series.get(name)
            if column is None:
                column = series[name] = Column(newest[device_id].get(name))
            column.add(seq, at, value)
    return found

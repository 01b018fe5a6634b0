"""Reads the values of the metrics that rules judge from parts of the logs."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from devices.metrics import COLUMNS
from readings.alarms.conditions.states import Sample
from readings.alarms.evaluation.positions import Newest, Part
from readings.log import reader
from readings.windows import EARLIEST

MICROSECOND = timedelta(microseconds=1)


class Value(msgspec.Struct, frozen=True, gc=False):
    """One value of a metric, with the position of its reading."""

    seq: int
    sample: Sample


Values = dict[str, list[Value]]


class Series:
    """Collects the values of one device by metric, in the order of its log.

    `newest` has the newest time of each metric so far, and is updated. A value that is older is late. `values` has the
    metrics of which there are values.
    """

    def __init__(self, newest: Newest) -> None:
        self.newest = newest
        self.values: Values = {}

    def add(self, seq: int, at: datetime, metric: str, value: float) -> None:
        micros = (at - EARLIEST) // MICROSECOND
        late = micros < self.newest.get(metric, micros)
        if not late:
            self.newest[metric] = micros
        self.values.setdefault(metric, []).append(Value(seq, Sample(at, value, late)))


def read_series(parts: Sequence[Part], metrics: frozenset[str]) -> dict[str, Series]:
    """The values of these metrics in these parts, by device id. Readings that retention deleted are missing."""
    series = {part.device_id: Series(dict(part.newest)) for part in parts}
    columns = [(place, name) for place, name in enumerate(COLUMNS, start=3) if name in metrics]
    extras = metrics.difference(COLUMNS)
    place_of_extra = 3 + len(COLUMNS)
    for row in reader.parts(parts, with_extra=bool(extras)):
        device_id, seq, at = row[:3]
        of_device = series[device_id]
        for place, name in columns:
            if row[place] is not None:
                of_device.add(seq, at, name, row[place])
        if extras:
            found: dict[str, float] = row[place_of_extra]
            for name in extras & found.keys():
                of_device.add(seq, at, name, float(found[name]))
    return series

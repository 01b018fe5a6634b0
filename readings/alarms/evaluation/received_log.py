"""The readings of one device that were received and not stored as judged yet, and the values that bring no event."""

import math
from array import array
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from itertools import compress
from operator import attrgetter
from typing import cast
from uuid import UUID

from devices.metrics import COLUMNS
from readings.alarms.conditions.states import Calm
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.samples import MICROSECOND, Column, Series
from readings.log.entries import StoredReading
from readings.windows import EARLIEST, LATEST

ABSENT = math.nan  # no value that is stored is NaN
# How exactly it is known when a value arrived, in seconds.
ARRIVAL_SECONDS = 10.0

# By metric: what each of its rules calls calm, and the newest time of the metric in microseconds since 1970.
Expected = dict[str, tuple[Sequence[Calm | None], int]]
# The lowest and the highest value of each of COLUMNS that surely bring no event.
Bounds = tuple[float, float, float, float, float, float]

ALWAYS_CALM, NEVER_CALM = (-math.inf, math.inf), (math.inf, -math.inf)
COLUMN_VALUES = [(name, attrgetter(name)) for name in COLUMNS]


def first_bounds(metrics: AbstractSet[str]) -> Bounds:
    """The bounds of a device of which nothing is known. `metrics`: those that rules judge."""
    temperature, humidity, voltage = (NEVER_CALM if name in metrics else ALWAYS_CALM for name in COLUMNS)
    return (*temperature, *humidity, *voltage)


class Track:
    """The values of a metric in a `Log`, and those that bring no event: `low <= value <= high` before `until`.

    `values` is shorter than the log's times if the last readings have no value, and has ABSENT for earlier ones.
    """

    __slots__ = ("high", "low", "until", "values")

    def __init__(self) -> None:
        self.values: array[float] = array("d")
        (self.low, self.high), self.until = NEVER_CALM, LATEST

    def expect(self, calms: Sequence[Calm | None]) -> None:
        (self.low, self.high), self.until = ALWAYS_CALM, LATEST
        for calm in calms:
            if calm is None:
                self.low, self.high = NEVER_CALM
                return
            self.low, self.high = max(self.low, calm.low), min(self.high, calm.high)
            if calm.until is not None:
                self.until = min(self.until, calm.until)

    def add(self, values: Sequence[float | None], place: int) -> None:
        """Adds the values of the readings from `place` on."""
        self.values.extend([ABSENT] * (place - len(self.values)))
        try:
            self.values += array("d", cast(Sequence[float], values))
        except TypeError:
            self.values.extend([ABSENT if value is None else value for value in values])


class Log:
    """Consecutive readings of a device, from `first_seq` to `end - 1`. `since`: when the first of them arrived.

    `rows`: the last of them as they arrived; `unpack` makes compact columns of them. Of these readings only those
    bring no event whose times rise from `newest` on and are before `until`, and whose values are within the bounds.
    """

    __slots__ = (
        "arrivals",
        "bounds",
        "device_pk",
        "end",
        "first_seq",
        "mark_at",
        "newest",
        "rows",
        "since",
        "times",
        "tracks",
        "until",
    )

    def __init__(self, device_pk: UUID, first_seq: int, bounds: Bounds) -> None:
        self.device_pk = device_pk.int  # faster to compare
        self.first_seq = self.end = first_seq
        self.since = 0.0
        self.rows: list[StoredReading] = []
        self.times: list[datetime] = []
        self.tracks: dict[str, Track] = {}
        self.bounds = bounds
        self.newest = self.until = EARLIEST
        # Positions, rising, and times: the readings from there on arrived at most ARRIVAL_SECONDS after this time.
        self.arrivals: list[tuple[int, datetime]] = []
        self.mark_at = 0.0

    def add(self, readings: list[StoredReading], metrics: AbstractSet[str]) -> bool:
        """Adds the next readings; returns whether they surely bring no event. Runs for each reading that is stored."""
        self.rows += readings
        self.end += len(readings)
        low_t, high_t, low_h, high_h, low_v, high_v = self.bounds
        for reading in readings:
            at, temperature, humidity = reading.timestamp, reading.temperature, reading.humidity
            if not self.newest <= at < self.until:
                return False
            self.newest = at
            if temperature is not None and not low_t <= temperature <= high_t:
                return False
            if humidity is not None and not low_h <= humidity <= high_h:
                return False
            voltage = reading.voltage
            if voltage is not None and not low_v <= voltage <= high_v:
                return False
            if reading.extra and not self.is_calm(reading.extra, metrics):
                return False
        return True

    def is_calm(self, extra: Mapping[str, float], metrics: AbstractSet[str]) -> bool:
        for metric in metrics & extra.keys():
            track = self.tracks.get(metric)
            if track is None or not track.low <= extra[metric] <= track.high:
                return False
        return True

    def arrive(self, *, now: datetime, moment: float) -> None:
        """Notes that the readings added next arrive now. `moment`: time.monotonic."""
        self.arrivals.append((self.end, now))
        self.mark_at = moment + ARRIVAL_SECONDS

    def arrived(self, seq: int) -> datetime:
        """When a reading that is here has arrived, at most ARRIVAL_SECONDS too late."""
        marked = next(at for first_seq, at in reversed(self.arrivals) if first_seq <= seq)
        return marked + timedelta(seconds=ARRIVAL_SECONDS)

    def heard(self, metric: str, metrics: AbstractSet[str]) -> datetime | None:
        """When the last reading with this metric has arrived, as `arrived`; None: no reading that is here has it."""
        self.unpack(metrics)
        values = self.tracks[metric].values if metric in self.tracks else array("d")
        for place in reversed(range(len(values))):
            if values[place] == values[place]:  # false for NaN
                return self.arrived(self.first_seq + place)
        return None

    def unpack(self, metrics: AbstractSet[str]) -> None:
        """Makes columns of the rows. `metrics`: those that rules judge."""
        rows, place = self.rows, len(self.times)
        self.rows = []
        self.times += [reading.timestamp for reading in rows]
        for name, value_of in COLUMN_VALUES:
            if name in metrics:
                values = list(map(value_of, rows))
                if values.count(None) < len(values):
                    self.track(name).add(values, place)
        extras = [reading.extra for reading in rows]
        if any(extras):
            for name in metrics & {name for extra in extras for name in extra}:
                found = [extra.get(name) for extra in extras]
                self.track(name).add([None if value is None else float(value) for value in found], place)

    def track(self, metric: str) -> Track:
        track = self.tracks.get(metric)
        if track is None:
            track = self.tracks[metric] = Track()
        return track

    def doubt(self, metrics: AbstractSet[str]) -> None:
        """Forgets what brings no event, and all metrics but these."""
        self.until, self.bounds = EARLIEST, first_bounds(metrics)
        self.tracks = {metric: track for metric, track in self.tracks.items() if metric in metrics}
        for track in self.tracks.values():
            (track.low, track.high), track.until = NEVER_CALM, LATEST

    def expect(self, expected: Expected) -> None:
        """Takes what brings no event from now on."""
        for metric, (calms, newest) in expected.items():
            self.newest = max(self.newest, EARLIEST + newest * MICROSECOND)
            self.track(metric).expect(calms)
        self.until = min([track.until for track in self.tracks.values()], default=EARLIEST)
        before = self.bounds[:2], self.bounds[2:4], self.bounds[4:]
        temperature, humidity, voltage = (
            (track.low, track.high) if (track := self.tracks.get(name)) else pair
            for name, pair in zip(COLUMNS, before, strict=True)
        )
        self.bounds = (*temperature, *humidity, *voltage)

    def series(self, part: Part, metrics: AbstractSet[str]) -> Series:
        """The values of this part, all of which must be here."""
        self.unpack(metrics)
        first, end = part.after + 1 - self.first_seq, part.until + 1 - self.first_seq
        times, seqs = self.times[first:end], list(range(part.after + 1, part.until + 1))
        series: Series = {}
        for metric, track in self.tracks.items():
            values = track.values[first:end].tolist()
            if math.isnan(sum(values)) or len(values) < len(times):
                there = [value == value for value in values]  # false for NaN
                if not any(there):
                    continue
                kept = list(compress(seqs, there)), list(compress(times, there)), list(compress(values, there))
                column = Column(part.newest.get(metric), *kept)
            elif values:
                column = Column(part.newest.get(metric), seqs, times, values)
            else:
                continue
            column.arrived = self.arrived(column.seqs[-1])
            series[metric] = column
        return series

    def forget(self, until: int, metrics: AbstractSet[str]) -> None:
        """Forgets the readings up to this position."""
        if until + 1 >= self.end:
            self.first_seq = self.end = until + 1
            self.rows, self.times, self.arrivals, self.mark_at = [], [], [], 0.0
            for track in self.tracks.values():
                track.values = array("d")
            return
        self.unpack(metrics)
        count = until + 1 - self.first_seq
        self.first_seq = until + 1
        del self.times[:count]
        for track in self.tracks.values():
            del track.values[:count]

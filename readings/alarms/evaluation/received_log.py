"""The readings of one device that were received and not judged yet, and the values that surely bring no event."""

import math
from array import array
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from itertools import compress
from uuid import UUID

from readings.alarms.conditions.states import Calm
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.samples import MICROSECOND, Column, Series
from readings.log.entries import StoredReading
from readings.windows import EARLIEST, LATEST

ABSENT = math.nan  # no value that is stored is NaN


# By metric: what each of its rules calls calm, and the newest time of the metric in microseconds since 1970.
Expected = dict[str, tuple[Sequence[Calm | None], int]]


class Track:
    """The values of a metric in a `Log`, and those that bring no event: `low <= value <= high` before `until`.

    `values` is shorter than the log's times if the last readings have no value, and has ABSENT for earlier ones.
    """

    __slots__ = ("high", "low", "until", "values")

    def __init__(self) -> None:
        self.values: array[float] = array("d")
        self.low, self.high, self.until = math.inf, -math.inf, LATEST

    def expect(self, calms: Sequence[Calm | None]) -> None:
        self.low, self.high, self.until = -math.inf, math.inf, LATEST
        for calm in calms:
            if calm is None:
                self.low, self.high = math.inf, -math.inf
                return
            self.low, self.high = max(self.low, calm.low), min(self.high, calm.high)
            if calm.until is not None:
                self.until = min(self.until, calm.until)

    def fill(self, length: int) -> None:
        self.values.extend([ABSENT] * (length - len(self.values)))


class Log:
    """Consecutive readings of a device, after `first_seq - 1`. `since`: when the first of them arrived.

    Only times from `newest` to `until` bring no event.
    """

    __slots__ = ("device_pk", "first_seq", "newest", "since", "times", "tracks", "until")

    def __init__(self, device_pk: UUID, first_seq: int) -> None:
        self.device_pk = device_pk.int  # faster to compare
        self.first_seq = first_seq
        self.since = 0.0
        self.times: list[datetime] = []
        self.tracks: dict[str, Track] = {}
        self.newest = self.until = EARLIEST

    @property
    def end(self) -> int:
        """The position after the last reading."""
        return self.first_seq + len(self.times)

    def add(self, readings: Sequence[StoredReading], columns: Sequence[str], metrics: AbstractSet[str]) -> bool:
        """Adds the next readings; returns whether they surely bring no event. Runs for each reading that is stored."""
        times, tracks, calm = self.times, self.tracks, True
        for reading in readings:
            place, at = len(times), reading.timestamp
            times.append(at)
            if self.newest <= at < self.until:
                self.newest = at
            else:
                calm = False
            for metric in columns:
                value = getattr(reading, metric)
                if value is not None:
                    track = tracks.get(metric)
                    if track is None:
                        track = tracks[metric] = Track()
                    if len(track.values) != place:
                        track.fill(place)
                    track.values.append(value)
                    if not track.low <= value <= track.high:
                        calm = False
            if reading.extra and not self.add_extra(reading.extra, metrics):
                calm = False
        return calm

    def add_extra(self, extra: Mapping[str, float], metrics: AbstractSet[str]) -> bool:
        """Adds other metrics of the last reading; returns whether they surely bring no event."""
        calm = True
        for metric in metrics & extra.keys():
            track, value = self.tracks.setdefault(metric, Track()), float(extra[metric])
            track.fill(len(self.times) - 1)
            track.values.append(value)
            calm = calm and track.low <= value <= track.high
        return calm

    def expect(self, expected: Expected) -> None:
        """Takes what brings no event from now on."""
        for metric, (calms, newest) in expected.items():
            self.newest = max(self.newest, EARLIEST + newest * MICROSECOND)
            self.tracks.setdefault(metric, Track()).expect(calms)
        self.until = min([track.until for track in self.tracks.values()], default=EARLIEST)

    def series(self, part: Part) -> Series:
        """The values of this part, all of which must be here."""
        first, end = part.after + 1 - self.first_seq, part.until + 1 - self.first_seq
        times, seqs = self.times[first:end], list(range(part.after + 1, part.until + 1))
        series: Series = {}
        for metric, track in self.tracks.items():
            values = track.values[first:end].tolist()
            if math.isnan(sum(values)) or len(values) < len(times):
                there = [value == value for value in values]  # false for NaN
                if any(there):
                    kept = list(compress(seqs, there)), list(compress(times, there)), list(compress(values, there))
                    series[metric] = Column(part.newest.get(metric), *kept)
            elif values:
                series[metric] = Column(part.newest.get(metric), seqs, times, values)
        return series

    def forget(self, until: int) -> None:
        """Forgets the readings up to this position."""
        count = until + 1 - self.first_seq
        self.first_seq = until + 1
        del self.times[:count]
        for track in self.tracks.values():
            del track.values[:count]

"""A segment that was read from the database. Its columns are decoded when they are first used."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from itertools import compress, repeat
from uuid import UUID

from devices.cpu_pool import Pauses
from devices.metrics import COLUMNS
from readings.log.damage import LogDamaged
from readings.log.entries import StoredReading
from readings.log.id_key import id_key
from readings.log.segments.ids import Numbered, read_digits, read_ids
from readings.log.segments.integers import Damaged, read_integers
from readings.log.segments.sealed import moment, naming_damage, opened
from readings.log.segments.values import Number, read_metric

# Microseconds before and after every time.
LOWEST, HIGHEST = -(2**63), 2**63


class Opened:
    """The columns of a segment of a device. A place is an index into each of them: 0 to `count - 1`, by `seq`.

    Every member raises LogDamaged. Decoding a column takes up to 0.5 ms of CPU time, so `pauses` come in between.
    """

    def __init__(self, device_id: str, first_seq: int, last_seq: int, data: bytes, pauses: Pauses) -> None:
        self.device_id, self.first_seq, self.last_seq, self.pauses = device_id, first_seq, last_seq, pauses
        self.decoded: dict[str, list[Number | None]] = {}
        with self.decoding():
            self.directory = opened(data)
        self.count = self.directory.count

    @contextmanager
    def decoding(self) -> Iterator[None]:
        self.pauses.pause()
        try:
            with naming_damage():
                yield
        except Damaged as error:
            raise LogDamaged(self.device_id, self.first_seq, self.last_seq, str(error)) from error

    @cached_property
    def seqs(self) -> list[int]:
        with self.decoding():
            return read_integers(self.directory.seqs, self.count)

    @cached_property
    def times(self) -> list[int]:
        """In microseconds since 1970."""
        with self.decoding():
            return read_integers(self.directory.times, self.count)

    def ids(self, places: Sequence[int]) -> list[UUID]:
        """The ids of the readings at these places."""
        with self.decoding():
            return read_ids(self.directory.ids, Numbered(self.device_id, self.seqs, self.times, id_key()), places)

    def id_texts(self, places: Sequence[int]) -> list[str]:
        """As `ids`, written as usual."""
        with self.decoding():
            numbered = Numbered(self.device_id, self.seqs, self.times, id_key())
            return read_digits(self.directory.ids, numbered, places, dash="-")

    @property
    def extras(self) -> list[str]:
        """The names of the metrics without a column of their own, in order."""
        return [name for name in self.directory.metrics if name not in COLUMNS]

    def has(self, name: str) -> bool:
        """Whether a reading of the segment has the metric."""
        return name in self.directory.metrics

    def metric(self, name: str) -> list[Number | None]:
        """The values of a metric; None where a reading does not have it."""
        if (found := self.decoded.get(name)) is None:
            with self.decoding():
                column = self.directory.metrics.get(name)
                found = [None] * self.count if column is None else read_metric(column, self.count)
            self.decoded[name] = found
        return found

    def having_any(self, metrics: Collection[str]) -> list[bool]:
        """For each place, whether the reading has at least one of these metrics."""
        columns = [self.metric(name) for name in metrics if self.has(name)]
        return [any(value is not None for value in values) for values in zip(*columns, strict=True)] if columns else []

    def keys(
        self, low: int | None, high: int | None, metrics: Collection[str] | None, *, source: int
    ) -> Iterator[tuple[int, int, int, int]]:
        """`(microseconds, seq, source, place)` of the readings with `low <= microseconds <= high`; None: no bound.

        `metrics`: of those with one of these. `source` is what the caller calls this segment.
        """
        if metrics is not None and not any(map(self.has, metrics)):
            return iter(())
        keys = zip(self.times, self.seqs, repeat(source, self.count), range(self.count), strict=True)
        if low is not None or high is not None:
            low, high = LOWEST if low is None else low, HIGHEST if high is None else high
            chosen = [low <= at <= high for at in self.times]
            if metrics is not None and any(chosen):
                chosen = [one and other for one, other in zip(chosen, self.having_any(metrics), strict=True)]
            return compress(keys, chosen)
        return keys if metrics is None else compress(keys, self.having_any(metrics))

    def moments(self, places: Sequence[int]) -> list[datetime]:
        times = self.times
        with self.decoding():
            return [moment(times[place]) for place in places]

    def readings(self, places: Sequence[int]) -> list[StoredReading]:
        """The readings at these places, in their order."""
        if not places:
            return []
        temperature, humidity, voltage = map(self.metric, COLUMNS)
        others = [(name, self.metric(name)) for name in self.extras]
        seqs, device_id, found = self.seqs, self.device_id, []
        for place, identifier, at in zip(places, self.ids(places), self.moments(places), strict=True):
            extra = {name: value for name, values in others if (value := values[place]) is not None}
            found.append(
                StoredReading(
                    identifier, device_id, seqs[place], at, temperature[place], humidity[place], voltage[place], extra
                )
            )
            self.pauses.pause()
        return found

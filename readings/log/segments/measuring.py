"""Encodes a sample of the stored readings as segments, to know how many bytes they would take, and decodes it again."""

from collections import Counter
from collections.abc import Sequence

import msgspec

from devices.models import DeviceState
from readings.log import reader
from readings.log.entries import StoredReading
from readings.log.id_key import id_key
from readings.log.segments.integers import Damaged
from readings.log.segments.sealed import SEGMENT_READINGS_MAX, decode, encode, opened


class Sample(msgspec.Struct):
    """Numbers of devices, readings and segments, the size of the segments in bytes, and that of each of their columns.

    `different`: ids of devices of which a reading did not come back as it was; that is a fault of the format.
    """

    devices: int = 0
    readings: int = 0
    segments: int = 0
    size: int = 0
    columns: Counter[str] = msgspec.field(default_factory=Counter)
    different: list[str] = []

    def add(self, readings: Sequence[StoredReading]) -> None:
        """Adds a segment of these readings of a device."""
        device_id = readings[0].device_id
        segment = encode(readings, key=id_key())
        directory = opened(segment)
        columns = {"seq": directory.seqs, "time": directory.times, "id": directory.ids} | directory.metrics
        self.columns.update({name: len(column) for name, column in columns.items()})
        self.readings += len(readings)
        self.segments += 1
        self.size += len(segment)
        if not same(segment, readings) and device_id not in self.different:
            self.different.append(device_id)


def same(segment: bytes, readings: Sequence[StoredReading]) -> bool:
    """Whether the segment has these readings. Compares texts, because 0.0 equals -0.0 and 21 equals 21.0."""
    try:
        return list(map(repr, decode(segment, readings[0].device_id, key=id_key()))) == list(map(repr, readings))
    except Damaged:
        return False


def measure(*, devices: int, segments: int, device_id: str | None = None) -> Sample:
    """Encodes the newest readings of the first devices, at most `segments` of each; or of `device_id` alone."""
    states = DeviceState.objects.filter(last_seq__gt=0).order_by("device_id")
    if device_id is not None:
        states = states.filter(device_id=device_id)
    sample = Sample()
    for state in states[:devices]:
        sample.devices += 1
        after = max(0, state.last_seq - segments * SEGMENT_READINGS_MAX)
        while readings := reader.logs_after({state.device_id: after}, limit=SEGMENT_READINGS_MAX):
            sample.add(readings)
            after = readings[-1].seq
            if after >= state.last_seq:
                break
    return sample

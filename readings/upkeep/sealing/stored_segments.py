"""Segments in the database: reads, inserts and deletes whole ones. Nothing else in upkeep encodes and decodes."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from readings.log.damage import LogDamaged
from readings.log.entries import StoredReading
from readings.log.id_key import id_key
from readings.log.segments.integers import Damaged
from readings.log.segments.sealed import SEGMENT_READINGS_MAX, Columns, columns, decode, encode
from readings.models import Segment

# Inserted by one statement.
INSERTED = 50


class NotAsEncoded(Exception):
    """A segment does not decode to the readings it was made of, or the database returned other bytes: a fault."""


@contextmanager
def naming_segment(segment: Segment) -> Iterator[None]:
    try:
        yield
    except Damaged as error:
        raise LogDamaged(segment.device_id, segment.first_seq, segment.last_seq, str(error)) from error


def readings_of(segment: Segment) -> list[StoredReading]:
    """The readings of a segment, by `seq`. Raises LogDamaged."""
    with naming_segment(segment):
        return decode(bytes(segment.data), segment.device_id, key=id_key())


def columns_of(segment: Segment) -> Columns:
    """The readings of a segment by columns, without their ids. Raises LogDamaged."""
    with naming_segment(segment):
        return columns(bytes(segment.data))


def packed(readings: Sequence[StoredReading], *, late: bool) -> list[Segment]:
    """These readings of a device, by `seq`, as segments that are not stored yet: full ones, and one with the rest.

    Each is decoded again and compared. Raises NotAsEncoded.
    """
    starts = range(0, len(readings), SEGMENT_READINGS_MAX)
    return [segment_of(readings[start : start + SEGMENT_READINGS_MAX], late=late) for start in starts]


def segment_of(readings: Sequence[StoredReading], *, late: bool) -> Segment:
    times = [reading.timestamp for reading in readings]
    segment = Segment(
        device_id=readings[0].device_id,
        first_seq=readings[0].seq,
        last_seq=readings[-1].seq,
        first_at=min(times),
        last_at=max(times),
        count=len(readings),
        late=late,
        data=encode(readings, key=id_key()),
    )
    # As bytes, because 0.0 equals -0.0 and 21 equals 21.0.
    if msgspec.msgpack.encode(readings_of(segment)) != msgspec.msgpack.encode(readings):
        raise NotAsEncoded(f"The readings {segment.first_seq} to {segment.last_seq} do not come back as they were.")
    return segment


def insert(segments: Sequence[Segment]) -> None:
    """Stores segments and reads them back, within the caller's transaction. Raises NotAsEncoded."""
    Segment.objects.bulk_create(segments, batch_size=INSERTED)
    for start in range(0, len(segments), INSERTED):
        part = segments[start : start + INSERTED]
        numbers = [segment.first_seq for segment in part]
        rows = Segment.objects.filter(device_id=part[0].device_id, first_seq__in=numbers)
        stored = {first_seq: bytes(data) for first_seq, data in rows.values_list("first_seq", "data")}
        if stored != {segment.first_seq: segment.data for segment in part}:
            raise NotAsEncoded(f"The database changed a segment after the reading {part[0].first_seq}.")


def delete(device_id: str, first_seqs: Iterable[int]) -> int:
    """Deletes these segments of a device, within the caller's transaction; returns how many there were."""
    numbers = list(first_seqs)
    return Segment.objects.filter(device_id=device_id, first_seq__in=numbers).delete()[0] if numbers else 0

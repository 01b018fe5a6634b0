"""Reads both forms of a log directly from the tables, and seals without waiting."""

from datetime import datetime, timedelta
from typing import Any

from readings.log.entries import StoredReading
from readings.log.id_key import id_key
from readings.log.segments.sealed import decode
from readings.models import Reading, ReceiptMark, SealedId, Segment
from readings.querysets import INSERT_COLUMNS
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import state_of
from readings.upkeep.passes import Rotation
from readings.upkeep.rollups import roll_up
from readings.upkeep.sealing import marks
from readings.upkeep.sealing.seal import seal

YEARS_LATER = datetime.fromisoformat("2036-05-09T12:00:00Z")


def roll_all_up() -> None:
    while roll_up(HOURS) or roll_up(MINUTES):
        pass


def raising(_: Any, error: Exception) -> None:
    raise error


def seal_all(*, now: datetime = YEARS_LATER, failed: Any = raising) -> int:
    """Rolls everything up, notes a mark and seals what is there; returns the number of readings sealed."""
    roll_all_up()
    marks.note(now=now)
    return seal_up_to(now, failed=failed)


def seal_up_to(before: datetime, *, now: datetime | None = None, failed: Any = raising) -> int:
    """Seals, of each device, what was noted up to this time."""
    return sum(seal(before=before, now=now or before, rotation=Rotation(), failed=failed))


def rows_of(device_id: str = "mote-1") -> list[StoredReading]:
    rows = Reading.objects.filter(device_id=device_id).order_by("seq")
    return [StoredReading(*row) for row in rows.values_list(*INSERT_COLUMNS)]


def segments_of(device_id: str = "mote-1") -> list[Segment]:
    return list(Segment.objects.filter(device_id=device_id).order_by("first_seq"))


def sealed_of(device_id: str = "mote-1") -> list[StoredReading]:
    """The readings in segments, by seq; checks what the columns of the segments say about them."""
    found = []
    for segment in segments_of(device_id):
        readings = decode(bytes(segment.data), device_id, key=id_key())
        times = [reading.timestamp for reading in readings]
        assert (segment.first_seq, segment.last_seq) == (readings[0].seq, readings[-1].seq)
        assert (segment.first_at, segment.last_at) == (min(times), max(times))
        assert segment.count == len(readings)
        found += readings
    return sorted(found, key=lambda reading: reading.seq)


def stored(device_id: str = "mote-1") -> list[str]:
    """Every reading of the device, by seq, as text; checks that each is where `sealed_seq` says, and there once."""
    sealed_seq = state_of(device_id).sealed_seq
    sealed, rows = sealed_of(device_id), rows_of(device_id)
    assert all(reading.seq <= sealed_seq for reading in sealed)
    assert all(reading.seq > sealed_seq for reading in rows)
    seqs = [reading.seq for reading in sealed + rows]
    assert seqs == sorted(set(seqs))
    return [repr(reading) for reading in sealed + rows]


def damage(segment: Segment) -> None:
    """Changes the last byte of a stored segment. A trigger refuses UPDATE, so it is deleted and inserted again."""
    values = {field.attname: getattr(segment, field.attname) for field in segment._meta.concrete_fields}
    values["data"] = bytes(segment.data[:-1]) + bytes((segment.data[-1] ^ 1,))
    segment.delete()
    Segment.objects.bulk_create([Segment(**values)])


def known_ids(device_id: str = "mote-1") -> dict[Any, int]:
    return dict(SealedId.objects.filter(device_id=device_id).values_list("id", "seq"))


def marks_of(device_id: str = "mote-1") -> list[tuple[datetime, int]]:
    marks = ReceiptMark.objects.filter(device_id=device_id).order_by("noted_at")
    return list(marks.values_list("noted_at", "seq"))


def days(count: float) -> timedelta:
    return timedelta(days=count)

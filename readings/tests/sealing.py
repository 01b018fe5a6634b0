"""Seals readings of tests as maintenance does: from the beginning of the log, each in one segment."""

from collections.abc import Iterable, Sequence

from django.db import transaction

from devices.models import DeviceState
from readings.log import reader
from readings.log.id_key import id_key
from readings.log.segments.sealed import decode
from readings.models import Reading, Segment
from readings.upkeep.sealing.stored_segments import segment_of


def seal(device_id: str = "mote-1", splits: Iterable[Sequence[int]] | None = None, *, until: int | None = None) -> None:
    """Seals the rows of the device up to the number `until`; None: all.

    `splits`: the numbers of each segment; what they do not name becomes one more segment. Names of numbers that are not
    there, or not a row any more, are left out.
    """
    with transaction.atomic():
        state = DeviceState.objects.select_for_update().get(device_id=device_id)
        until = state.last_seq if until is None else until
        found = reader.logs_after({device_id: state.sealed_seq}, limit=100_000)
        rest = {reading.seq: reading for reading in found if reading.seq <= until}
        parts = [[rest.pop(seq) for seq in sorted(set(split)) if seq in rest] for split in splits or ()]
        parts.append(list(rest.values()))
        Segment.objects.bulk_create(segment_of(part, late=place > 0) for place, part in enumerate(parts) if part)
        Reading.objects.filter(device_id=device_id, seq__lte=until).delete()
        DeviceState.objects.filter(device_id=device_id).update(sealed_seq=until)


def unseal(device_id: str = "mote-1") -> None:
    """Turns all segments of the device back into rows."""
    with transaction.atomic():
        for segment in Segment.objects.filter(device_id=device_id):
            Reading.objects.insert(decode(bytes(segment.data), device_id, key=id_key()))
        Segment.objects.filter(device_id=device_id).delete()
        DeviceState.objects.filter(device_id=device_id).update(sealed_seq=0)


def damage_segment(device_id: str, first_seq: int) -> None:
    """Changes a bit of the segment that begins with this number."""
    segment = Segment.objects.get(device_id=device_id, first_seq=first_seq)
    changed = bytearray(segment.data)
    changed[len(changed) // 2] ^= 4
    Segment.objects.filter(device_id=device_id, first_seq=first_seq).delete()
    segment.data = bytes(changed)
    segment.save(force_insert=True)

"""Retention of sealed readings: deletes whole segments, and writes the one at the edge again without what expired."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from devices.models import DeviceState
from readings.log.damage import LogDamaged
from readings.log.entries import StoredReading
from readings.models import SealedId, Segment
from readings.upkeep.rollups import Outrun
from readings.upkeep.sealing import known_ids
from readings.upkeep.sealing.stored_segments import delete, insert, packed, readings_of

# Deleted in one transaction: 400,000 readings.
CHUNK_SEGMENTS = 200


def delete_expired(device_id: str, border: datetime) -> Iterator[int]:
    """Deletes the sealed readings of the device before `border`, but for its latest one; yields how many each time.

    Raises LogDamaged if the segment at the edge cannot be read; then all others were deleted.
    """
    latest_seq = latest_of(device_id)
    over = Segment.objects.filter(device_id=device_id, last_at__lt=border)
    whole = over.exclude(first_seq__lte=latest_seq, last_seq__gte=latest_seq).order_by("last_at", "first_seq")
    while segments := list(whole.defer("data")[:CHUNK_SEGMENTS]):
        with transaction.atomic(durable=True):
            forget_ids(device_id, segments)
            if delete(device_id, [segment.first_seq for segment in segments]) != len(segments):
                raise Outrun
        yield sum(segment.count for segment in segments)
    damaged: LogDamaged | None = None
    for first_seq in list(at_edge(device_id, border, latest_seq).values_list("first_seq", flat=True)):
        # Read only now, because between two steps it can have been filled up, unsealed or erased.
        segment = Segment.objects.filter(device_id=device_id, first_seq=first_seq).first()
        if segment is None:
            continue
        latest_seq = latest_of(device_id)
        try:
            expired, kept = parted(segment, border, latest_seq)
        except LogDamaged as error:
            damaged = error
            continue
        if expired:
            with transaction.atomic(durable=True):
                if delete(device_id, [segment.first_seq]) != 1:
                    raise Outrun
                if kept:
                    insert(packed(kept, late=segment.late))
                known_ids.withdraw(expired)
            yield len(expired)
    if damaged:
        raise damaged


def count_expired(device_id: str, border: datetime) -> int:
    """How many sealed readings `delete_expired` would delete. Raises LogDamaged."""
    latest_seq = latest_of(device_id)
    over = Segment.objects.filter(device_id=device_id, last_at__lt=border)
    whole = over.exclude(first_seq__lte=latest_seq, last_seq__gte=latest_seq).values_list("count", flat=True)
    edges = at_edge(device_id, border, latest_seq)
    return sum(whole) + sum(len(parted(segment, border, latest_seq)[0]) for segment in edges)


def latest_of(device_id: str) -> int:
    """The `seq` of the device's latest reading, which is kept at any age; 0 without one."""
    seq = DeviceState.objects.filter(device_id=device_id).values_list("latest_seq", flat=True).first()
    return seq or 0


def forget_ids(device_id: str, segments: Sequence[Segment]) -> None:
    """Deletes the notes of ids in these segments, within the caller's transaction. Those in a damaged one stay."""
    if SealedId.objects.filter(device_id=device_id).exists():
        for segment in Segment.objects.filter(device_id=device_id, first_seq__in=[one.first_seq for one in segments]):
            with suppress(LogDamaged):
                known_ids.withdraw(readings_of(segment))


def at_edge(device_id: str, border: datetime, latest_seq: int) -> QuerySet[Segment]:
    """The segments that reach over the border, and the one with the latest reading if it begins before."""
    with_latest = Q(first_seq__lte=latest_seq, last_seq__gte=latest_seq)
    segments = Segment.objects.filter(Q(last_at__gte=border) | with_latest, device_id=device_id, first_at__lt=border)
    return segments.order_by("first_seq")


def parted(segment: Segment, border: datetime, latest_seq: int) -> tuple[list[StoredReading], list[StoredReading]]:
    """The readings of the segment that expired, and the others. Raises LogDamaged."""
    expired: list[StoredReading] = []
    kept: list[StoredReading] = []
    for reading in readings_of(segment):
        (expired if reading.timestamp < border and reading.seq != latest_seq else kept).append(reading)
    return expired, kept

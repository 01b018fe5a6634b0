"""Retention of sealed readings: deletes whole segments, and writes the one at the edge again without what expired.

Segments are decoded and encoded before the transactions, because on SQLite nobody can post during one.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet

from devices.models import DeviceState
from readings.log.damage import LogDamaged
from readings.log.entries import StoredReading
from readings.models import SealedId, Segment
from readings.upkeep.failures import Outrun
from readings.upkeep.sealing import known_ids
from readings.upkeep.sealing.stored_segments import delete, insert, packed, readings_of

# Deleted in one transaction: 400,000 readings. Fewer if the notes of their ids are deleted too, one row for each.
CHUNK_SEGMENTS = 200
CHUNK_SEGMENTS_WITH_IDS = 2
# A segment at the edge is written again when it has a reading that is this much older than the border: so at most once
# in this time, and not in each hour. Until then its expired readings stay.
EDGE_DELAY = timedelta(days=1)


def delete_expired(device_id: str, border: datetime) -> Iterator[int]:
    """Deletes the sealed readings of the device before `border`, but for its latest one; yields how many each time.

    Those in a segment that reaches over the border stay until one of them is EDGE_DELAY older than it. Raises
    LogDamaged if the segment at the edge cannot be read; then all others were deleted.
    """
    latest_seq = latest_of(device_id)
    over = Segment.objects.filter(device_id=device_id, last_at__lt=border)
    whole = over.exclude(first_seq__lte=latest_seq, last_seq__gte=latest_seq).order_by("last_at", "first_seq")
    while True:
        with_ids = SealedId.objects.filter(device_id=device_id).exists()
        segments = list(whole[:CHUNK_SEGMENTS_WITH_IDS] if with_ids else whole.defer("data")[:CHUNK_SEGMENTS])
        if not segments:
            break
        readings = undamaged(segments) if with_ids else []
        with transaction.atomic(durable=True):
            known_ids.withdraw(readings)
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
            rest = packed(kept, late=segment.late)
            with transaction.atomic(durable=True):
                if delete(device_id, [segment.first_seq]) != 1:
                    raise Outrun
                insert(rest)
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


def undamaged(segments: Sequence[Segment]) -> list[StoredReading]:
    """The readings of these segments that can be read: the notes of ids in a damaged one stay."""
    readings: list[StoredReading] = []
    for segment in segments:
        with suppress(LogDamaged):
            readings += readings_of(segment)
    return readings


def at_edge(device_id: str, border: datetime, latest_seq: int) -> QuerySet[Segment]:
    """The segments to be written again: they reach over the border, or have the latest reading, and more than that."""
    with_latest = Q(first_seq__lte=latest_seq, last_seq__gte=latest_seq, count__gt=1)
    old = Segment.objects.filter(device_id=device_id, first_at__lt=border - EDGE_DELAY)
    segments = old.filter(Q(last_at__gte=border) | with_latest)
    return segments.order_by("first_seq")


def parted(segment: Segment, border: datetime, latest_seq: int) -> tuple[list[StoredReading], list[StoredReading]]:
    """The readings of the segment that expired, and the others. Raises LogDamaged."""
    expired: list[StoredReading] = []
    kept: list[StoredReading] = []
    for reading in readings_of(segment):
        (expired if reading.timestamp < border and reading.seq != latest_seq else kept).append(reading)
    return expired, kept

"""Seals old readings: one step moves the next readings of a device from rows to segments, in one transaction.

Readings are read and encoded before the transaction. It locks the row of the device's state only at its end, because
ingest waits for that lock; on SQLite ingest waits for the whole transaction.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q

from devices.models import DeviceState
from readings import instruments
from readings.log.damage import LogDamaged
from readings.log.entries import StoredReading
from readings.log.segments.sealed import SEGMENT_READINGS_MAX
from readings.models import Reading, Segment
from readings.querysets import INSERT_COLUMNS
from readings.upkeep.failures import Outrun, concerns_whole_database
from readings.upkeep.passes import IdRange, Rotation
from readings.upkeep.rollups import limit_lock_wait
from readings.upkeep.sealing import known_ids
from readings.upkeep.sealing.candidates import Sealable, candidates, limits
from readings.upkeep.sealing.stored_segments import delete, insert, packed, readings_of

# Maximum number of readings per transaction. Less on SQLite, because ingest waits for it there.
STEP_READINGS = {"postgresql": 16_384, "sqlite": 2_048}
# A reading that is older than this, compared with the newest before it in the log, is late: those that devices send
# from their buffers. In a segment of their own they do not widen the times of many others.
LATE_AFTER = timedelta(hours=1)


def seal(
    *,
    before: datetime,
    now: datetime,
    rotation: Rotation,
    failed: Callable[[Sealable, Exception], None],
) -> Iterator[int]:
    """Seals what was received before `before`; yields the number of readings of each step, each of one device.

    A pass takes at most STEP_READINGS of a device; then the next pass follows. `failed` is called for a device whose
    step fails; later passes leave this device out. It may be stopped between two steps. Raises DatabaseError if the
    whole database is concerned.
    """
    allowed = limits(before=before, now=now)
    left_out = set()
    more = True
    while more:
        more = False
        for ids in rotation.ranges():
            last: str | None = ids.after
            while last is not None:
                page, last = candidates(allowed, IdRange(last, ids.until))
                for sealable in page:
                    rotation.position = sealable.device_id
                    if sealable.device_id in left_out:
                        continue
                    try:
                        sealed, until = seal_next(sealable)
                    except Exception as error:
                        if concerns_whole_database(error):
                            raise
                        left_out.add(sealable.device_id)
                        failed(sealable, error)
                        continue
                    more = more or until < sealable.until
                    yield sealed


def seal_next(sealable: Sealable) -> tuple[int, int]:
    """Seals the first of these readings, at most STEP_READINGS; returns how many, and the new `sealed_seq`.

    Raises Outrun, NotAsEncoded and DatabaseError; after each of them nothing was changed.
    """
    step = STEP_READINGS[connection.vendor]
    device_id, after = sealable.device_id, sealable.after
    rows = Reading.objects.filter(device_id=device_id, seq__gt=after, seq__lte=sealable.until).order_by("seq")
    readings = [StoredReading(*row) for row in rows.values_list(*INSERT_COLUMNS)[:step]]
    until = readings[-1].seq if len(readings) == step else sealable.until
    on_time, late = divided(readings, newest=newest_on_time(device_id), noted_at=sealable.noted_at)
    replaced: list[int] = []
    segments: list[Segment] = []
    for is_late, added in ((False, on_time), (True, late)):
        if added:
            begun = with_room(device_id, late=is_late)
            if begun:
                replaced.append(begun[0].seq)
            segments += packed(begun + added, late=is_late)
    with transaction.atomic(durable=True):
        limit_lock_wait()
        if delete(device_id, replaced) != len(replaced):
            raise Outrun
        insert(segments)
        known_ids.note([reading for reading in readings if reading.seq > sealable.forgotten])
        if delete_rows(device_id, after, until) != len(readings):
            raise Outrun
        advance(device_id, after, until)
    instruments.SEALED.inc(len(readings))
    instruments.SEGMENTS_WRITTEN.inc(len(segments))
    return len(readings), until


def divided(
    readings: Sequence[StoredReading], *, newest: datetime | None, noted_at: datetime
) -> tuple[list[StoredReading], list[StoredReading]]:
    """The readings that were on time, and the late ones. `newest`: the newest time before them in the log.

    A time after `noted_at`, when they all had been received, comes from a wrong clock or an import. Such a reading
    counts as late, so that it does not make later ones late.
    """
    on_time, late = [], []
    for reading in readings:
        at = reading.timestamp
        if at > noted_at or (newest is not None and at < newest - LATE_AFTER):
            late.append(reading)
        else:
            on_time.append(reading)
            newest = at if newest is None else max(newest, at)
    return on_time, late


def newest_on_time(device_id: str) -> datetime | None:
    """The newest time of the sealed readings that were on time."""
    segments = Segment.objects.filter(device_id=device_id, late=False).order_by("-last_at")
    return segments.values_list("last_at", flat=True).first()


def with_room(device_id: str, *, late: bool) -> list[StoredReading]:
    """The readings of the last segment of this kind, if it can take more. A damaged one stays as it is."""
    last = Segment.objects.filter(device_id=device_id, late=late).order_by("-first_seq").first()
    if last is None or last.count >= SEGMENT_READINGS_MAX:
        return []
    try:
        return readings_of(last)
    except LogDamaged:
        return []


def delete_rows(device_id: str, after: int, until: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM readings_reading WHERE device_id = %s AND seq > %s AND seq <= %s", [device_id, after, until]
        )
        return int(cursor.rowcount)


def advance(device_id: str, after: int, until: int) -> None:
    """Moves `sealed_seq`. Raises Outrun if a position has changed so that the readings cannot be sealed."""
    DeviceState.objects.lock([device_id])
    in_minutes = Q(rolled_up_minutes_seq=None) | Q(rolled_up_minutes_seq__gte=until)
    states = DeviceState.objects.filter(in_minutes, device_id=device_id, sealed_seq=after, rolled_up_seq__gte=until)
    if states.update(sealed_seq=until) != 1:
        raise Outrun

"""Turns what is sealed back into rows: readings from the end of the sealed part, in steps of at most two segments."""

from collections.abc import Iterator, Sequence
from uuid import UUID

import msgspec
from django.db import transaction

from devices.models import DeviceState
from readings.log.damage import StatisticsDamaged
from readings.log.entries import StoredReading
from readings.log.id_key import id_key
from readings.log.ids import ServerIds
from readings.models import Reading, RollupBlock, Segment
from readings.upkeep.failures import Outrun
from readings.upkeep.locks import exclusively
from readings.upkeep.rollups import limit_lock_wait
from readings.upkeep.sealing import known_ids
from readings.upkeep.sealing.stored_blocks import to_rows
from readings.upkeep.sealing.stored_segments import delete, insert, packed, readings_of

# Blocks of rollups that become rows in one transaction.
STEP_BLOCKS = 20


class Unsealed(msgspec.Struct, frozen=True):
    """Readings that became rows. `new_ids`: how many of them got a new id, because theirs was sent again later."""

    readings: int
    new_ids: int


def unseal(device_id: str) -> Iterator[Unsealed]:
    """Turns all sealed readings of the device back into rows; yields the result of each step, the last ones first.

    Waits before each step until maintenance has finished its round. Killed at any moment, it can be repeated. Raises
    LogDamaged and DatabaseError; the steps before stay done.
    """
    while True:
        with exclusively("maintenance", wait=True):
            done = unseal_last(device_id)
        if done is None:
            return
        yield done


def unseal_last(device_id: str) -> Unsealed | None:
    """One step; None if nothing is sealed. Raises LogDamaged, Outrun and DatabaseError: nothing was changed."""
    state = DeviceState.objects.filter(device_id=device_id, sealed_seq__gt=0).first()
    if state is None:
        return None
    segments = Segment.objects.filter(device_id=device_id)
    last = segments.order_by("-first_seq").first()
    until = last.first_seq - 1 if last else 0
    # Of each kind, on time and late, at most one.
    opened = list(segments.filter(last_seq__gt=until))
    rows: list[StoredReading] = []
    kept: list[Segment] = []
    for segment in opened:
        readings = readings_of(segment)
        rows += [reading for reading in readings if reading.seq > until]
        if below := [reading for reading in readings if reading.seq <= until]:
            kept += packed(below, late=segment.late)
    if not until or not segments.filter(first_seq__lte=until).exists():
        until = 0  # retention has deleted what was before
    rows.sort(key=lambda reading: reading.seq)
    with transaction.atomic(durable=True):
        limit_lock_wait()
        if delete(device_id, [segment.first_seq for segment in opened]) != len(opened):
            raise Outrun
        insert(kept)
        known_ids.withdraw(rows)
        given = with_new_ids(rows)
        Reading.objects.insert([msgspec.structs.replace(row, id=given.get(row.seq, row.id)) for row in rows])
        DeviceState.objects.lock([device_id])
        states = DeviceState.objects.filter(device_id=device_id, sealed_seq=state.sealed_seq)
        if states.update(sealed_seq=until) != 1:
            raise Outrun
    return Unsealed(len(rows), len(given))


def with_new_ids(readings: Sequence[StoredReading]) -> dict[int, UUID]:
    """New ids, by `seq`, for those of these readings whose id a later reading has: those that the server would give.

    That can be, because the id of a sealed reading is forgotten after IDS_KEPT.
    """
    if not readings:
        return {}
    rows = Reading.objects.filter(device_id=readings[0].device_id, id__in=[reading.id for reading in readings])
    taken = set(rows.values_list("id", flat=True))
    derived = ServerIds(id_key()).id
    found = {}
    for reading in reversed(readings):
        if reading.id in taken:
            found[reading.seq] = derived(reading.device_id, reading.seq, reading.timestamp)
        taken.add(reading.id)
    return found


def unseal_rollups(device_id: str) -> Iterator[int]:
    """Turns all sealed rollups of the device back into rows; yields their number after each step, the last ones first.

    Waits and can be repeated as `unseal`. Raises Outrun, DatabaseError, and StatisticsDamaged at the end if there are
    damaged blocks, which stay; all other steps stay done.
    """
    blocks = RollupBlock.objects.filter(device_id=device_id).order_by("seconds", "-start", "metric")
    damaged: list[StatisticsDamaged] = []
    while True:
        done = 0
        with exclusively("maintenance", wait=True), transaction.atomic(durable=True):
            limit_lock_wait()
            # Only damaged ones are left of those before.
            step = list(blocks[len(damaged) : len(damaged) + STEP_BLOCKS])
            for block in step:
                try:
                    done += to_rows([block])
                except StatisticsDamaged as error:
                    damaged.append(error)
        if not step:
            break
        yield done
    if damaged:
        raise damaged[0]

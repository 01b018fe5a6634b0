"""The write path. Everything that stores a reading goes through `store`, by way of `record` or of a group commit."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import IntegrityError, transaction

from devices.models import DeviceState
from readings.ids import uuid7
from readings.models import Reading
from readings.payloads import NewReading, Refusal
from readings.signals import readings_recorded
from readings.stored import Appended, ReadingLike, StoredReading

UNKNOWN_DEVICE = Refusal("device_id", "unknown_device", "There is no device of this id.")
INACTIVE_DEVICE = Refusal("device_id", "inactive_device", "This device is deactivated.")
FOREIGN_ID = Refusal("id", "id_taken", "Another device has stored a reading of this id.")

# Two transactions can give one id to two devices, whose locks do not meet; the second look finds it stored.
ATTEMPTS = 3


class Recorded(msgspec.Struct, frozen=True):
    """What became of one reading: stored now, stored before (`duplicate`), or refused."""

    reading: ReadingLike | None = None
    duplicate: bool = False
    refusal: Refusal | None = None


def record(readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
    """Stores readings of any number of devices in one transaction and says, in order, what became of each.

    A reading whose `id` its device has stored already is a duplicate, also within one call. Returns after the
    commit and after `readings_recorded`; what it raises (DatabaseError) means that nothing was stored.
    """
    outcomes, appended = store(readings, received_at=received_at)
    if appended:
        readings_recorded.send_robust(sender=record, appended=appended)
    return outcomes


async def announce(appended: list[Appended]) -> None:
    """Sends the signal, if there is anything to tell, from an event loop: for whoever calls `store` in a thread."""
    if appended:
        await readings_recorded.asend_robust(sender=record, appended=appended)


def store(readings: Sequence[NewReading], *, received_at: datetime) -> tuple[list[Recorded], list[Appended]]:
    """`record` without the signal: also returns what is to be announced."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic(durable=True):
                return append(readings, received_at=received_at)
        except IntegrityError:
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def append(readings: Sequence[NewReading], *, received_at: datetime) -> tuple[list[Recorded], list[Appended]]:
    """The transaction: lock, leave out duplicates, number, insert, advance the states."""
    states = lock_states({reading.device_id for reading in readings})
    known: dict[UUID, ReadingLike] = dict(Reading.objects.in_bulk([r.id for r in readings if r.id is not None]))
    outcomes: list[Recorded] = []
    new: dict[str, list[StoredReading]] = defaultdict(list)
    for reading in readings:
        state = states.get(reading.device_id)
        if state is None:
            outcomes.append(Recorded(refusal=UNKNOWN_DEVICE))
        elif not state.device.is_active:
            outcomes.append(Recorded(refusal=INACTIVE_DEVICE))
        elif reading.id in known:
            before = known[reading.id]
            mine = before.device_id == reading.device_id
            outcomes.append(Recorded(before, duplicate=True) if mine else Recorded(refusal=FOREIGN_ID))
        else:
            state.last_seq += 1
            stored = StoredReading(
                reading.id or uuid7(),
                reading.device_id,
                state.last_seq,
                reading.timestamp,
                reading.temperature,
                reading.humidity,
                reading.voltage,
                reading.extra,
            )
            known[stored.id] = stored
            new[stored.device_id].append(stored)
            outcomes.append(Recorded(stored))
    heard_from = {outcome.reading.device_id for outcome in outcomes if outcome.reading}
    Reading.objects.insert([reading for log in new.values() for reading in log])
    advance(
        {device_id: state for device_id, state in states.items() if device_id in heard_from},
        new,
        received_at=received_at,
    )
    appended = [Appended(states[device_id].device.pk, device_id, log) for device_id, log in new.items()]
    return outcomes, appended


def lock_states(device_ids: set[str]) -> dict[str, DeviceState]:
    """The devices' state rows, locked until the transaction ends; always in the same order, so no deadlock.

    SQLite has no row locks and needs none: BEGIN IMMEDIATE has made this transaction the only writer.
    """
    states = (
        DeviceState.objects.select_related("device")
        .filter(device_id__in=device_ids)
        .order_by("device")
        .select_for_update(of=("self",), no_key=True)
    )
    return {state.device_id: state for state in states}


def advance(states: dict[str, DeviceState], new: dict[str, list[StoredReading]], *, received_at: datetime) -> None:
    """Moves the locked state rows on to what was just inserted."""
    for device_id, state in states.items():
        state.last_seen_at = max(state.last_seen_at or received_at, received_at)
        if not (log := new.get(device_id)):
            continue
        latest = max(log, key=lambda reading: (reading.timestamp, reading.seq))
        if state.latest_at is None or latest.timestamp >= state.latest_at:
            state.latest_at, state.latest_seq = latest.timestamp, latest.seq
    if states:
        DeviceState.objects.overwrite(states.values())

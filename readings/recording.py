"""The write path. Everything that stores a reading goes through `store`, by way of `record` or of a group commit."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from django.db import IntegrityError, transaction

from devices.models import DeviceState
from devices.states import Advance, LogEnd
from readings import instruments
from readings.ids import uuid7s
from readings.models import Reading
from readings.payloads import NewReading, Refusal
from readings.signals import readings_recorded
from readings.stored import Appended, StoredReading

UNKNOWN_DEVICE = Refusal("device_id", "unknown_device", "There is no device of this id.")
INACTIVE_DEVICE = Refusal("device_id", "inactive_device", "This device is deactivated.")
FOREIGN_ID = Refusal("id", "id_taken", "Another device has stored a reading of this id.")

# Two transactions can give one id to two devices, whose locks do not meet; the second look finds it stored.
ATTEMPTS = 3


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What became of one reading: stored now, stored before (`duplicate`), or refused."""

    reading: StoredReading | None = None
    duplicate: bool = False
    refusal: Refusal | None = None


def record(readings: Sequence[NewReading], *, received_at: datetime | None) -> list[Recorded]:
    """Stores readings of any number of devices in one transaction and says, in order, what became of each.

    A reading whose `id` its device has stored already is a duplicate, also within one call. Returns after the
    commit and after `readings_recorded`; what it raises (DatabaseError) means that nothing was stored.
    `received_at` is None where the devices themselves were not heard from, as in an import.
    """
    outcomes, appended = store(readings, received_at=received_at)
    if appended:
        readings_recorded.send_robust(sender=record, appended=appended)
    return outcomes


async def announce(appended: list[Appended]) -> None:
    """Sends the signal, if there is anything to tell, from an event loop: for whoever calls `store` in a thread."""
    if appended:
        await readings_recorded.asend_robust(sender=record, appended=appended)


def store(readings: Sequence[NewReading], *, received_at: datetime | None) -> tuple[list[Recorded], list[Appended]]:
    """`record` without the signal: also returns what is to be announced."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic(durable=True):
                outcomes, appended = append(readings, received_at=received_at)
        except IntegrityError:
            if attempt == ATTEMPTS:
                raise
        else:
            accepted = sum(len(log.readings) for log in appended)
            instruments.count_stored(outcomes if accepted != len(outcomes) else (), accepted)
            return outcomes, appended
    raise AssertionError("unreachable")


def append(readings: Sequence[NewReading], *, received_at: datetime | None) -> tuple[list[Recorded], list[Appended]]:
    """The transaction: lock, leave out duplicates, number, insert, advance the states."""
    ends = DeviceState.objects.lock({reading.device_id for reading in readings})
    given = [reading.id for reading in readings if reading.id is not None]
    known: dict[UUID, StoredReading] = Reading.objects.by_ids(given) if given else {}
    fresh = iter(uuid7s(len(readings) - len(given)))
    outcomes: list[Recorded] = []
    new: dict[str, list[StoredReading]] = defaultdict(list)
    heard_from = set()
    for reading in readings:
        end = ends.get(reading.device_id)
        if end is None:
            outcomes.append(Recorded(refusal=UNKNOWN_DEVICE))
            continue
        if not end.is_active:
            outcomes.append(Recorded(refusal=INACTIVE_DEVICE))
            continue
        if reading.id is None:
            identifier = next(fresh)
        else:
            identifier = reading.id
            if before := known.get(identifier):
                mine = before.device_id == reading.device_id
                outcomes.append(Recorded(before, duplicate=True) if mine else Recorded(refusal=FOREIGN_ID))
                if mine:
                    heard_from.add(reading.device_id)
                continue
        end.last_seq += 1
        stored = StoredReading(
            identifier,
            end.device_id,
            end.last_seq,
            reading.timestamp,
            reading.temperature,
            reading.humidity,
            reading.voltage,
            reading.extra,
        )
        if reading.id is not None:
            known[identifier] = stored
        new[end.device_id].append(stored)
        outcomes.append(Recorded(stored))
    rows = [reading for log in new.values() for reading in log]
    if given:
        # Two transactions that bring the same ids for different devices wait for each other, but never in a ring.
        rows.sort(key=lambda reading: reading.id.int)
    Reading.objects.insert(rows)
    access_version = DeviceState.objects.advance(
        [advanced(ends[device_id], new.get(device_id, [])) for device_id in heard_from.union(new)],
        seen_at=received_at,
    )
    appended = [Appended(ends[device_id].device_pk, device_id, log, access_version) for device_id, log in new.items()]
    return outcomes, appended


def advanced(end: LogEnd, log: list[StoredReading]) -> Advance:
    """The state of a device that was heard from, by what was stored of it, which may be nothing."""
    if not log:
        return Advance(end.device_id, end.last_seq, None, None)
    latest = log[0] if len(log) == 1 else max(log, key=lambda reading: (reading.timestamp, reading.seq))
    return Advance(end.device_id, end.last_seq, latest.seq, latest.timestamp)

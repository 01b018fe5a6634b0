"""The write path. Everything that stores a reading goes through `store`, by way of `record` or of a group commit."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from django.db import DatabaseError, IntegrityError, InterfaceError, transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from devices.database_errors import is_undone
from devices.models import Device, DeviceState
from devices.states import Advance, Latest, Value
from readings import instruments, metric_names
from readings.ids import uuid7s
from readings.metric_names import Names
from readings.metrics import COLUMNS
from readings.models import Reading
from readings.payloads import NewReading, Refusal
from readings.signals import readings_recorded
from readings.stored import Appended, StoredReading
from readings.windows import EARLIEST

UNKNOWN_DEVICE = Refusal("device_id", "unknown_device", "There is no device of this id.")
INACTIVE_DEVICE = Refusal("device_id", "inactive_device", "This device is deactivated.")
FOREIGN_ID = Refusal("id", "id_taken", "Another device has stored a reading of this id.")

# Two transactions can give one id to two devices, whose locks do not meet; the second look finds it stored.
ATTEMPTS = 3

MICROSECOND = timedelta(microseconds=1)


class OutcomeUnknown(APIException):
    """The connection ended, or the deadline passed, before the database said whether it has committed."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "outcome_unknown"
    default_detail = (
        "The database has not said whether it stored this. Send it again with the same ids, which are stored once; "
        "without ids it may be stored twice."
    )


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """What became of one reading: stored now, stored before (`duplicate`), or refused."""

    reading: StoredReading | None = None
    duplicate: bool = False
    refusal: Refusal | None = None


def record(
    readings: Sequence[NewReading], *, received_at: datetime | None, register: Collection[str] = ()
) -> list[Recorded]:
    """Stores readings of any number of devices in one transaction and says, in order, what became of each.

    A reading whose `id` its device has stored already is a duplicate, also within one call. Returns after the
    commit and after `readings_recorded`. A DatabaseError means that nothing was stored, OutcomeUnknown that nobody
    knows. `received_at` is None where the devices themselves were not heard from, as in an import. `register` names
    devices to register in the same transaction; raises DeviceIdTaken where there is one of them already.
    """
    outcomes, appended = store(readings, received_at=received_at, register=register)
    if appended:
        readings_recorded.send_robust(sender=record, appended=appended)
    return outcomes


async def announce(appended: list[Appended]) -> None:
    """Sends the signal, if there is anything to tell, from an event loop: for whoever calls `store` in a thread."""
    if appended:
        await readings_recorded.asend_robust(sender=record, appended=appended)


def store(
    readings: Sequence[NewReading], *, received_at: datetime | None, register: Collection[str] = ()
) -> tuple[list[Recorded], list[Appended]]:
    """`record` without the signal: also returns what is to be announced."""
    for attempt in range(1, ATTEMPTS + 1):
        committing = False
        try:
            with transaction.atomic(durable=True):
                for device_id in register:
                    Device.objects.register(device_id=device_id)
                outcomes, appended, changed = append(readings, received_at=received_at)
                committing = True
        except IntegrityError:
            if attempt == ATTEMPTS:
                raise
        except (DatabaseError, InterfaceError) as error:
            if committing and not is_undone(error):
                raise OutcomeUnknown from error
            raise
        else:
            metric_names.remember(changed)
            accepted = sum(len(log.readings) for log in appended)
            instruments.count_stored(outcomes if accepted != len(outcomes) else (), accepted)
            return outcomes, appended
    raise AssertionError("unreachable")


def append(
    readings: Sequence[NewReading], *, received_at: datetime | None
) -> tuple[list[Recorded], list[Appended], list[Names]]:
    """The transaction: lock, leave out duplicates, number, insert, advance the states.

    Also returns the metric names of the devices that have new ones.
    """
    ends = DeviceState.objects.lock({reading.device_id for reading in readings})
    names = metric_names.of(ends.values())
    given = [reading.id for reading in readings if reading.id is not None]
    known: dict[UUID, StoredReading] = Reading.objects.by_ids(given) if given else {}
    fresh = iter(uuid7s(len(readings) - len(given)))
    outcomes: list[Recorded] = []
    new: dict[str, list[StoredReading]] = defaultdict(list)
    heard_from = set()
    widened = set()  # the devices that have a new extra metric
    for reading in readings:
        device_id = reading.device_id
        end = ends.get(device_id)
        if end is None:
            outcomes.append(Recorded(refusal=UNKNOWN_DEVICE))
            continue
        if not end.is_active:
            outcomes.append(Recorded(refusal=INACTIVE_DEVICE))
            continue
        if reading.id is not None and (before := known.get(reading.id)):
            mine = before.device_id == device_id
            outcomes.append(Recorded(before, duplicate=True) if mine else Recorded(refusal=FOREIGN_ID))
            if mine:
                heard_from.add(device_id)
            continue
        if reading.extra and not reading.extra.keys() <= names[device_id]:
            more = names[device_id].union(reading.extra)
            if metric_names.too_many(more):
                outcomes.append(Recorded(refusal=metric_names.refusal()))
                continue
            names[device_id] = more
            widened.add(device_id)
        end.last_seq += 1
        stored = StoredReading(
            reading.id or next(fresh),
            end.device_id,
            end.last_seq,
            reading.timestamp,
            reading.temperature,
            reading.humidity,
            reading.voltage,
            reading.extra,
        )
        if reading.id is not None:
            known[reading.id] = stored
        new[device_id].append(stored)
        outcomes.append(Recorded(stored))
    rows = [reading for log in new.values() for reading in log]
    if given:
        # Two transactions that bring the same ids for different devices wait for each other, but never in a ring.
        rows.sort(key=lambda reading: reading.id.int)
    Reading.objects.insert(rows)
    advances, changed = [], []
    for device_id in heard_from.union(new):
        end, log = ends[device_id], new.get(device_id, [])
        if not log:
            advances.append(Advance(device_id, end.last_seq))
            continue
        latest = latest_of(log, names[device_id])
        if device_id in widened or not latest.values.keys() <= names[device_id]:
            changed.append(Names(end.device_pk, end.last_seq, names[device_id].union(latest.values)))
            advances.append(Advance(device_id, end.last_seq, latest, end.last_seq))
        else:
            advances.append(Advance(device_id, end.last_seq, latest))
    access_version = DeviceState.objects.advance(advances, seen_at=received_at)
    appended = [Appended(ends[device_id].device_pk, device_id, log, access_version) for device_id, log in new.items()]
    return outcomes, appended, changed


def latest_of(log: list[StoredReading], names: frozenset[str]) -> Latest:
    """What was stored of a device that has these metrics, the extra ones of `log` among them."""
    newest = log[0] if len(log) == 1 else max(log, key=by_time)
    values, oldest_at = latest_values(newest, log)
    return Latest(newest.seq, newest.id, newest.timestamp, values, oldest_at, not names <= values.keys())


def by_time(reading: StoredReading) -> tuple[datetime, int]:
    return reading.timestamp, reading.seq


def latest_values(newest: StoredReading, log: Sequence[StoredReading]) -> tuple[dict[str, Value], datetime]:
    """Of each metric in `log` its newest value, and the oldest time of those values. `newest` is the log's newest."""
    values = values_of(newest)
    if len(log) == 1:
        return values, newest.timestamp
    absent = [name for name in COLUMNS if name not in values]
    others: dict[str, StoredReading] = {}  # of metrics that the newest reading has not
    for reading in log:
        names = [name for name in absent if getattr(reading, name) is not None] if absent else []
        if reading.extra and not reading.extra.keys() <= values.keys():
            names += reading.extra.keys() - values.keys()
        for name in names:
            if name not in others or by_time(reading) > by_time(others[name]):
                others[name] = reading
    for name, reading in others.items():
        values[name] = values_of(reading)[name]
    return values, min([newest.timestamp, *(reading.timestamp for reading in others.values())])


def values_of(reading: StoredReading) -> dict[str, Value]:
    at, seq = (reading.timestamp - EARLIEST) // MICROSECOND, reading.seq
    values: dict[str, Value] = {}
    for name in COLUMNS:
        if (value := getattr(reading, name)) is not None:
            values[name] = value, at, seq
    for name, value in reading.extra.items():
        values[name] = value, at, seq
    return values

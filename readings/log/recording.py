"""The write path. All code that stores readings calls `store`, either through `record` or through a group commit."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import msgspec
from django.db import DatabaseError, InterfaceError, connection, transaction
from rest_framework import status
from rest_framework.exceptions import APIException

from devices.changes.log import command, log_added
from devices.database.errors import is_undone
from devices.database.log_locks import LogEnd
from devices.database.pipelines import committing_pipeline
from devices.models import Device, DeviceState
from devices.states import Advance, Advanced
from readings import instruments
from readings.log import metric_names, reader
from readings.log.entries import Appended, NewReading, Refusal, StoredReading
from readings.log.id_key import id_key
from readings.log.ids import ServerIds
from readings.log.latest_values import by_time, latest_json, latest_json_of
from readings.log.metric_names import Names
from readings.models import Reading
from readings.signals import readings_recorded

UNKNOWN_DEVICE = Refusal("device_id", "unknown_device", "There is no device with this id.")
INACTIVE_DEVICE = Refusal("device_id", "inactive_device", "This device is deactivated.")
# The statements for at most this many readings are sent in two steps. For more, COPY saves more than the round trips.
PIPELINED_READINGS_MAX = 64


class OutcomeUnknown(APIException):
    """The connection ended, or the deadline passed, before the database confirmed the commit."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "outcome_unknown"
    default_detail = (
        "The database did not confirm whether it stored this. Send it again with the same ids, which are stored once; "
        "without ids it may be stored twice."
    )


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """The outcome for one reading: stored now, stored before (`duplicate`), or refused (`refusal`)."""

    reading: StoredReading | None = None
    duplicate: bool = False
    refusal: Refusal | None = None


def record(
    readings: Sequence[NewReading], *, received_at: datetime | None, register: Collection[str] = ()
) -> list[Recorded]:
    """Stores readings of any number of devices in one transaction; returns the outcome of each, in the same order.

    A reading whose `id` its device has stored already is a duplicate, also within one call. Returns after the commit
    and after the receivers of `readings_recorded`. `received_at` is None if the devices themselves did not send the
    readings, as in an import. `register`: ids of devices that a command registers in the same transaction.

    Raises DatabaseError if nothing was stored, OutcomeUnknown if it is unknown whether the readings were stored, and
    DeviceIdTaken if a device in `register` exists already.
    """
    outcomes, appended = store(readings, received_at=received_at, register=register)
    if appended:
        readings_recorded.send_robust(sender=record, appended=appended)
    return outcomes


async def announce(appended: list[Appended], *, waits: bool = True) -> None:
    """Sends the signal for stored readings, if any, from an event loop; for callers that run `store` in a thread.

    `waits`: whether somebody waits until the receivers are done.
    """
    if appended:
        await readings_recorded.asend_robust(sender=record, appended=appended, waits=waits)


def store(
    readings: Sequence[NewReading],
    *,
    received_at: datetime | None,
    register: Collection[str] = (),
    check: Callable[[int], None] | None = None,
) -> tuple[list[Recorded], list[Appended]]:
    """`record` without the signal. Also returns the readings for which the caller must send it.

    `check` is called with the current `AccessVersion` before anything is stored, with the devices locked. What it
    raises ends the transaction.
    """
    # Registering may fail and go on, which a pipeline cannot; nor can a part of a longer transaction.
    alone = not register and not connection.in_atomic_block
    pipelined = alone and len(readings) <= PIPELINED_READINGS_MAX
    done: Done | None = None
    try:
        with transaction.atomic(durable=True), ExitStack() as ending:
            if register:
                registered = [Device.objects.register(device_id=device_id)[0] for device_id in register]
                log_added(registered, by=command())
            done = append(readings, received_at=received_at, check=check, ending=ending if pipelined else None)
    except (DatabaseError, InterfaceError) as error:
        if done is not None and not is_undone(error):
            raise OutcomeUnknown from error
        raise
    metric_names.remember(done.changed)
    accepted = sum(map(len, done.new.values()))
    instruments.count_stored(done.outcomes if accepted != len(done.outcomes) else (), accepted)
    return done.outcomes, done.appended(received_at)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a transaction does when it commits. In a pipeline it is sent together with the COMMIT.

    `ends` and `new`: the logs and the readings that they get, by device id. `changed`: the metric names of the devices
    that have new ones.
    """

    outcomes: list[Recorded]
    ends: dict[str, LogEnd]
    new: dict[str, list[StoredReading]]
    changed: list[Names]
    advanced: Advanced

    def appended(self, received_at: datetime | None) -> list[Appended]:
        version = self.advanced.access_version()
        return [
            Appended(self.ends[device_id].device_pk, device_id, log, version, received_at)
            for device_id, log in self.new.items()
        ]


def append(
    readings: Sequence[NewReading],
    *,
    received_at: datetime | None,
    check: Callable[[int], None] | None,
    ending: ExitStack | None,
) -> Done:
    """The body of the transaction: lock, check, leave out duplicates, number, insert, update the states.

    `ending`: enters the pipeline in which the last statements wait for the COMMIT; None: they do not wait.
    """
    ends, version = DeviceState.objects.lock_at_version({reading.device_id for reading in readings})
    if check is not None:
        check(version)
    names = metric_names.of(ends.values())
    given = [(reading.device_id, reading.id) for reading in readings if reading.id is not None]
    # By device and the number of the id, because hashing a UUID takes several times as long. Nobody else can store one
    # of these meanwhile, because the devices are locked.
    known = {(stored.device_id, stored.id.int): stored for stored in reader.by_ids(given)}
    if received_at is None:
        # An import may have readings whose ids are in segments alone; it has the same times as before.
        rest = [
            (reading.device_id, reading.id, reading.timestamp)
            for reading in readings
            if reading.id is not None and (reading.device_id, reading.id.int) not in known
        ]
        known |= {(stored.device_id, stored.id.int): stored for stored in reader.sealed_by_times(rest)}
    server_ids = ServerIds(id_key())
    outcomes: list[Recorded] = []
    new: dict[str, list[StoredReading]] = defaultdict(list)
    heard_from = set()
    widened = set()  # devices with a new extra metric
    for reading in readings:
        device_id = reading.device_id
        end = ends.get(device_id)
        if end is None:
            outcomes.append(Recorded(refusal=UNKNOWN_DEVICE))
            continue
        if not end.is_active:
            outcomes.append(Recorded(refusal=INACTIVE_DEVICE))
            continue
        if reading.id is not None and (before := known.get((device_id, reading.id.int))):
            outcomes.append(Recorded(before, duplicate=True))
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
            reading.id or server_ids.id(device_id, end.last_seq, reading.timestamp),
            end.device_id,
            end.last_seq,
            reading.timestamp,
            reading.temperature,
            reading.humidity,
            reading.voltage,
            reading.extra,
        )
        if reading.id is not None:
            known[device_id, reading.id.int] = stored
        new[device_id].append(stored)
        outcomes.append(Recorded(stored))
    if ending is not None:
        ending.enter_context(committing_pipeline(connection))
    Reading.objects.insert([reading for log in new.values() for reading in log], pipelined=ending is not None)
    advances, changed = [], []
    micros: dict[datetime, int] = {}
    for device_id in heard_from.union(new):
        end, log = ends[device_id], new.get(device_id, [])
        if not log:
            advances.append(Advance(device_id, end.last_seq))
            continue
        known_names = names[device_id]
        names_seq = oldest_at = None
        if len(log) == 1:
            newest = log[0]
            text, columns = latest_json(newest, micros)
            count = len(newest.extra) + len(columns)
        else:
            newest = max(log, key=by_time)
            text, columns, count, oldest_at = latest_json_of(newest, log, micros)
        if device_id in widened or not known_names.issuperset(columns):
            known_names = known_names.union(columns)
            names_seq = end.last_seq
            changed.append(Names(end.device_pk, names_seq, known_names))
        advances.append(
            Advance(
                device_id,
                end.last_seq,
                newest.seq,
                newest.id,
                newest.timestamp,
                text,
                oldest_at,
                count < len(known_names),
                names_seq,
            )
        )
    advanced = DeviceState.objects.advance(advances, seen_at=received_at)
    return Done(outcomes=outcomes, ends=ends, new=new, changed=changed, advanced=advanced)

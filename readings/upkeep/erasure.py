"""Erases the stored data of a device, for the right to erasure (GDPR, article 17)."""

import re
from collections.abc import Callable, Iterator

import msgspec
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Q

from devices.changes.log import COMMAND_LINE, command, log_changed, service_account
from devices.models import ChangeDetail, Device, DeviceState
from readings.log import reader
from readings.models import Rejection, Rollup, Segment
from readings.upkeep.locks import exclusively
from readings.upkeep.sealing import known_ids
from readings.upkeep.sealing.stored_blocks import count_sealed
from readings.upkeep.sealing.stored_segments import delete

# Deletes what an app above this package stores about a device; the second argument is `with_device` of `erase`.
Eraser = Callable[[Device, bool], None]

CHUNK_ROWS = 5_000
ERASED = "[erased]"
ERASED_READINGS = "Erased its readings, statistics and refused posts."
ERASED_DEVICE = "Erased a device with all its data."
# Called in the last transaction of an erasure, while the device's row is locked.
erasers: list[Eraser] = []
# Fields of DeviceState about readings, which are reset after an erasure.
STATE_OF_READINGS = [
    "sealed_seq",
    "rolled_up_seq",
    "rolled_up_minutes_seq",
    "alarms_seq",
    "alarms_newest",
    "raw_from",
    "latest_seq",
    "latest_id",
    "latest_at",
    "latest",
    "names_seq",
]

# Tables that have nothing but readings of a device and what belongs to them.
READING_TABLES = ("readings_reading", "readings_segment", "readings_sealedid", "readings_receiptmark")
ROLLUP_TABLES = ("readings_rollup", "readings_rollupblock")
CHUNK_SEGMENTS = 50

DELETE_CHUNK = f"""
DELETE FROM readings_reading WHERE device_id = %s AND seq IN (
    SELECT seq FROM readings_reading WHERE device_id = %s AND seq <= %s ORDER BY seq LIMIT {CHUNK_ROWS}
)
"""


def also_erases(eraser: Eraser) -> None:
    """Registers an eraser, once."""
    if eraser not in erasers:
        erasers.append(eraser)


class Holdings(msgspec.Struct, frozen=True):
    """Numbers of stored rows of a device."""

    readings: int
    rollups: int
    refused_posts: int


def holdings(device: Device) -> Holdings:
    return Holdings(
        reader.count(device.device_id),
        Rollup.objects.filter(device=device).count() + count_sealed(device.device_id),
        len(refused_posts_of(device)),
    )


def erase(device: Device, *, with_device: bool) -> Iterator[int]:
    """Deletes every reading, sealed or not, every rollup and refused post of the device; yields how many readings each
    step deleted.

    The log continues with its next number, so that no `seq` is used twice. `with_device` also deletes the device, its
    key, its tickets, and its entries in the console's history. Readings are deleted in transactions of at most
    CHUNK_ROWS; the last transaction locks the device's log, so that readings that arrived meanwhile are deleted too.
    Waits until maintenance has finished its round, and the evaluation of alarms its own. Raises DatabaseError; the
    erasure can then be repeated.
    """
    device_id = device.device_id
    rest = 0
    with exclusively("maintenance", wait=True), connection.cursor() as cursor:
        until = DeviceState.objects.get(device_id=device_id).last_seq
        segments = Segment.objects.filter(device_id=device_id).order_by("first_seq").values_list("first_seq", "count")
        while chunk := list(segments[:CHUNK_SEGMENTS]):
            delete(device_id, [first_seq for first_seq, _ in chunk])
            yield sum(count for _, count in chunk)
        for _ in known_ids.forget(device_id, until=until):
            pass
        while True:
            cursor.execute(DELETE_CHUNK, [device_id, device_id, until])
            if cursor.rowcount:
                yield cursor.rowcount
            if cursor.rowcount < CHUNK_ROWS:
                break
        with exclusively("alarms", wait=True), transaction.atomic(durable=True):
            # In this order, which prevents deadlocks: a change of tags locks devices and then the rules, and a change
            # of rules locks these and then shares devices, which this lock lets it do, unlike the next one.
            Device.objects.select_for_update(no_key=True).get(pk=device.pk)
            for forget in erasers:
                forget(device, with_device)
            DeviceState.objects.lock([device_id])
            # Waits for transactions that store refused posts of the device, and blocks new ones.
            device = Device.objects.select_for_update().get(pk=device.pk)
            # In SQL, because the ORM would load the rows before it deletes them.
            for table in READING_TABLES:
                cursor.execute(f"DELETE FROM {table} WHERE device_id = %s", [device_id])
                rest += cursor.rowcount if table == "readings_reading" else 0
            for table in ROLLUP_TABLES:
                cursor.execute(f"DELETE FROM {table} WHERE device_id = %s", [device_id])
            Rejection.objects.filter(pk__in=refused_posts_of(device)).delete()
            if with_device:
                forget_changes(device)
                DeviceState.objects.filter(device_id=device_id).delete()
                device.delete()
                log_erasure()
            else:
                state = DeviceState.objects.get(device_id=device_id)
                state.rolled_up_seq = state.alarms_seq = state.sealed_seq = state.last_seq
                if state.rolled_up_minutes_seq is not None:
                    state.rolled_up_minutes_seq = state.last_seq
                state.latest_seq = state.latest_id = state.latest_at = state.raw_from = None
                state.latest, state.names_seq, state.alarms_newest = "{}", 0, "{}"
                state.save(update_fields=STATE_OF_READINGS)
                log_changed([device], ERASED_READINGS, by=command())
        if rest:
            yield rest


def refused_posts_of(device: Device) -> list[int]:
    """The primary keys of refused posts that name the device in any column, or with a hint of its last two keys."""
    # `field` may contain the id too, because clients choose the names of their fields.
    may_name = Q(field__contains=device.device_id) | Q(detail__contains=device.device_id)
    found = set(Rejection.objects.of_device(device).values_list("pk", flat=True))
    name = name_of(device)
    for pk, field, detail in Rejection.objects.filter(may_name).values_list("pk", "field", "detail"):
        if name.search(field) or name.search(detail):
            found.add(pk)
    return sorted(found)


def forget_changes(device: Device) -> None:
    """Deletes the console's log entries of the device, and replaces its id in other entries."""
    of_devices = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Device))
    of_devices.filter(Q(object_id=str(device.pk)) | Q(object_repr=device.device_id)).delete()
    name = name_of(device)
    may_name = Q(object_repr__contains=device.device_id) | Q(change_message__contains=device.device_id)
    for entry in LogEntry.objects.filter(may_name):
        entry.object_repr = name.sub(ERASED, entry.object_repr)
        # Django's own messages are JSON with names of fields, not devices; a replacement could make them invalid.
        if not entry.change_message.startswith("["):
            entry.change_message = name.sub(ERASED, entry.change_message)
        entry.save(update_fields=["object_repr", "change_message"])
    for detail in ChangeDetail.objects.filter(
        Q(before__contains=device.device_id) | Q(after__contains=device.device_id)
    ):
        detail.before, detail.after = name.sub(ERASED, detail.before), name.sub(ERASED, detail.after)
        detail.save(update_fields=["before", "after"])


def log_erasure() -> None:
    """Logs that a device was erased, but not which one."""
    LogEntry.objects.create(
        user_id=service_account(COMMAND_LINE),
        content_type=ContentType.objects.get_for_model(Device),
        object_repr=ERASED,
        action_flag=DELETION,
        change_message=ERASED_DEVICE,
    )


def name_of(device: Device) -> re.Pattern[str]:
    """A pattern for the device's id in a text, but not as a part of another word."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(device.device_id)}(?![A-Za-z0-9])")

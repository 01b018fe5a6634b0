"""Erases what is stored of a device, because an operator has to: the right to erasure (GDPR, article 17)."""

import re
from collections.abc import Iterator

import msgspec
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Q

from devices.models import Device, DeviceState
from readings.models import Reading, Rejection, Rollup
from readings.upkeep.locks import exclusively

CHUNK_ROWS = 5_000
ERASED = "[erased]"
# What the state of a device says of readings that are gone.
STATE_OF_READINGS = [
    "rolled_up_seq",
    "rolled_up_minutes_seq",
    "raw_from",
    "latest_seq",
    "latest_id",
    "latest_at",
    "latest",
    "names_seq",
]

DELETE_CHUNK = f"""
DELETE FROM readings_reading WHERE device_id = %s AND seq IN (
    SELECT seq FROM readings_reading WHERE device_id = %s AND seq <= %s ORDER BY seq LIMIT {CHUNK_ROWS}
)
"""


class Holdings(msgspec.Struct, frozen=True):
    """What is stored of a device, in rows."""

    readings: int
    rollups: int
    refused_posts: int


def holdings(device: Device) -> Holdings:
    return Holdings(
        Reading.objects.filter(device=device).count(),
        Rollup.objects.filter(device=device).count(),
        len(refused_posts_of(device)),
    )


def erase(device: Device, *, with_device: bool) -> Iterator[int]:
    """Deletes every reading, rollup and refused post of the device; yields how many readings each step deleted.

    The log goes on from its number: no `seq` is given out twice. With `with_device` the device goes too, with its key,
    its tickets, and what the console's history says of it. Most goes in small transactions; the last one holds the
    device's log, so that nothing that arrives meanwhile is left. May wait for maintenance to finish its round.
    Raises DatabaseError; it can be run again.
    """
    device_id = device.device_id
    with exclusively("maintenance", wait=True), connection.cursor() as cursor:
        until = DeviceState.objects.get(device_id=device_id).last_seq
        while True:
            cursor.execute(DELETE_CHUNK, [device_id, device_id, until])
            if cursor.rowcount:
                yield cursor.rowcount
            if cursor.rowcount < CHUNK_ROWS:
                break
        with transaction.atomic(durable=True):
            DeviceState.objects.lock([device_id])
            # Waits for whoever is writing down refused posts of it, and stops those who would.
            device = Device.objects.select_for_update().get(pk=device.pk)
            # In SQL: the ORM would load what it deletes.
            cursor.execute("DELETE FROM readings_reading WHERE device_id = %s", [device_id])
            rest = cursor.rowcount
            cursor.execute("DELETE FROM readings_rollup WHERE device_id = %s", [device_id])
            Rejection.objects.filter(pk__in=refused_posts_of(device)).delete()
            if with_device:
                forget_changes(device)
                DeviceState.objects.filter(device_id=device_id).delete()
                device.delete()
            else:
                state = DeviceState.objects.get(device_id=device_id)
                state.rolled_up_seq = state.last_seq
                if state.rolled_up_minutes_seq is not None:
                    state.rolled_up_minutes_seq = state.last_seq
                state.latest_seq = state.latest_id = state.latest_at = state.raw_from = None
                state.latest, state.names_seq = "{}", 0
                state.save(update_fields=STATE_OF_READINGS)
        if rest:
            yield rest


def refused_posts_of(device: Device) -> list[int]:
    """The ids of refused posts that name the device, in whatever column, or that came with a key like its last two."""
    # A client chooses what its fields are called.
    may_name = Q(field__contains=device.device_id) | Q(detail__contains=device.device_id)
    found = set(Rejection.objects.of_device(device).values_list("pk", flat=True))
    name = name_of(device)
    for pk, field, detail in Rejection.objects.filter(may_name).values_list("pk", "field", "detail"):
        if name.search(field) or name.search(detail):
            found.add(pk)
    return sorted(found)


def forget_changes(device: Device) -> None:
    """Deletes the console's log entries of the device, and takes its id out of what others say."""
    of_devices = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Device))
    of_devices.filter(Q(object_id=str(device.pk)) | Q(object_repr=device.device_id)).delete()
    name = name_of(device)
    may_name = Q(object_repr__contains=device.device_id) | Q(change_message__contains=device.device_id)
    for entry in LogEntry.objects.filter(may_name):
        entry.object_repr = name.sub(ERASED, entry.object_repr)
        # Django's own messages are JSON and name fields, not devices; to replace words in them could break them.
        if not entry.change_message.startswith("["):
            entry.change_message = name.sub(ERASED, entry.change_message)
        entry.save(update_fields=["object_repr", "change_message"])


def name_of(device: Device) -> re.Pattern[str]:
    """Finds the device's id in a text, and not as a part of another word."""
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(device.device_id)}(?![A-Za-z0-9])")

"""Erases what is stored of a device, because an operator has to: the right to erasure (GDPR, article 17)."""

from collections.abc import Iterator

import msgspec
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction

from devices.models import Device, DeviceState
from readings.exclusion import exclusively
from readings.models import Reading, Rollup

CHUNK_ROWS = 5_000
# What the state of a device says of readings that are gone.
ERASED = [
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


def holdings(device_id: str) -> Holdings:
    return Holdings(
        Reading.objects.filter(device__device_id=device_id).count(),
        Rollup.objects.filter(device__device_id=device_id).count(),
    )


def erase(device: Device, *, with_device: bool) -> Iterator[int]:
    """Deletes every reading and rollup of the device; yields how many readings each step deleted.

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
            # In SQL: the ORM would load what it deletes.
            cursor.execute("DELETE FROM readings_reading WHERE device_id = %s", [device_id])
            rest = cursor.rowcount
            cursor.execute("DELETE FROM readings_rollup WHERE device_id = %s", [device_id])
            if with_device:
                entries = LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(Device))
                entries.filter(object_id=str(device.pk)).delete()
                DeviceState.objects.filter(device_id=device_id).delete()
                device.delete()
            else:
                state = DeviceState.objects.get(device_id=device_id)
                state.rolled_up_seq = state.last_seq
                if state.rolled_up_minutes_seq is not None:
                    state.rolled_up_minutes_seq = state.last_seq
                state.latest_seq = state.latest_id = state.latest_at = state.raw_from = None
                state.latest, state.names_seq = "{}", 0
                state.save(update_fields=ERASED)
        if rest:
            yield rest

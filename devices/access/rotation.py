"""Rotates the keys of several devices in one transaction: either all of them get a new key, or none."""

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import msgspec
from django.db import OperationalError, connection, transaction

from devices.keys import hash_key
from devices.models import KEY_FIELDS, Device, DeviceState

LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A
LOCK_ATTEMPTS = 30
LOCK_PAUSE_SECONDS = 0.1
SAVE = """
UPDATE devices_device AS device
SET api_key_hash = new.api_key_hash, key_hint = new.key_hint, previous_key_hint = new.previous_key_hint,
    retiring_key_hash = new.retiring_key_hash, retiring_key_expires_at = new.retiring_key_expires_at
FROM json_to_recordset(%s::json) AS new (
    device_id text, api_key_hash text, key_hint text, previous_key_hint text, retiring_key_hash text,
    retiring_key_expires_at timestamptz
)
WHERE device.device_id = new.device_id
"""
# The parameters are the values of KEY_FIELDS in their order, then the device id.
SAVE_SQLITE = """
UPDATE devices_device
SET api_key_hash = %s, key_hint = %s, previous_key_hint = %s, retiring_key_hash = %s, retiring_key_expires_at = %s
WHERE device_id = %s
"""


class KeysReplaced(Exception):
    """The keys that should be replaced have been replaced already."""


def fingerprint(devices: Sequence[Device]) -> str:
    """A hash of the current keys of these devices, in this order: 16 hexadecimal digits."""
    return hash_key(" ".join(device.api_key_hash for device in devices))[:16]


def rotate_keys(
    device_ids: Collection[str], *, replaced: str, overlap: timedelta, now: datetime, force: bool
) -> list[tuple[Device, str]]:
    """Gives each of these devices a new key, like `Device.rotate_key`; returns (device, key) pairs, sorted by id.

    `replaced` is the `fingerprint` of the devices, sorted by id, at the time of the decision to rotate. If two requests
    rotate the same keys at the same time, one of them gets KeysReplaced. Raises RotationUnderWay too. After either
    error no key was changed.
    """
    with transaction.atomic():
        devices = lock(device_ids)
        if fingerprint(devices) != replaced:
            raise KeysReplaced
        keys = [(device, device.replace_key(overlap=overlap, now=now, force=force)) for device in devices]
        save_keys(devices)
    return keys


def save_keys(devices: Sequence[Device]) -> None:
    """Saves KEY_FIELDS in SQL, because ingest of these devices waits: 500 devices take 80 ms, `bulk_update` 500 ms."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            rows = [{name: getattr(device, name) for name in ("device_id", *KEY_FIELDS)} for device in devices]
            cursor.execute(SAVE, [msgspec.json.encode(rows).decode()])
            return
        moment = connection.ops.adapt_datetimefield_value
        for device in devices:
            *values, expires_at = (getattr(device, name) for name in KEY_FIELDS)
            cursor.execute(SAVE_SQLITE, [*values, moment(expires_at), device.device_id])


def lock(device_ids: Collection[str]) -> list[Device]:
    """Locks the devices until the transaction ends; returns them sorted by id.

    Raises OperationalError if another transaction holds a row during LOCK_ATTEMPTS attempts, LOCK_PAUSE_SECONDS apart.

    The key columns are unique, so on PostgreSQL an update of them conflicts with every insert that references the
    device, and such inserts reach the devices in any order (deadlocks). Ingest locks the states first, so the locks on
    the states keep it out. Rollups insert before they lock a state; because of them this function never waits for a
    device while it holds locks: it releases its locks, pauses and tries again.
    """
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with transaction.atomic():
                DeviceState.objects.lock(device_ids)
                locked = Device.objects.select_for_update(nowait=True).filter(device_id__in=device_ids)
                return list(locked.order_by("device_id"))
        except OperationalError as error:
            if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE or attempt == LOCK_ATTEMPTS:
                raise
        time.sleep(LOCK_PAUSE_SECONDS)
    raise AssertionError("unreachable")

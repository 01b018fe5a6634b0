"""Give several devices new keys in one transaction: all of them get one, or none does."""

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
# The values of KEY_FIELDS, in their order.
SAVE_SQLITE = """
UPDATE devices_device
SET api_key_hash = %s, key_hint = %s, previous_key_hint = %s, retiring_key_hash = %s, retiring_key_expires_at = %s
WHERE device_id = %s
"""


class KeysReplaced(Exception):
    """The devices do not have the keys any more that were to be replaced."""


def fingerprint(devices: Sequence[Device]) -> str:
    """16 hexadecimal digits that stand for the keys these devices have now, in this order."""
    return hash_key(" ".join(device.api_key_hash for device in devices))[:16]


def rotate_keys(
    device_ids: Collection[str], *, replaced: str, overlap: timedelta, now: datetime, force: bool
) -> list[tuple[Device, str]]:
    """Gives each of these devices a new key, as `Device.rotate_key`; the devices by id, each with its key.

    `replaced` is the `fingerprint` of the devices, by id, as they were when somebody decided to rotate: of two who
    decide at once, one gets KeysReplaced. Raises RotationUnderWay too. Either means that no key was changed.
    """
    with transaction.atomic():
        devices = lock(device_ids)
        if fingerprint(devices) != replaced:
            raise KeysReplaced
        keys = [(device, device.replace_key(overlap=overlap, now=now, force=force)) for device in devices]
        save_keys(devices)
    return keys


def save_keys(devices: Sequence[Device]) -> None:
    """In SQL, because ingest of these devices waits meanwhile: of 500 this takes 80 ms, `bulk_update` 500."""
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
    """Locks the devices, by id, until the transaction ends. Raises OperationalError after some seconds.

    A device's keys are unique, so on PostgreSQL a new one conflicts with every insert that refers to the device, and
    inserts meet devices in any order. Ingest is kept out by the states' locks, which it takes first. Rollups insert
    before they lock a state, so for them this does not wait while it holds locks: it lets go and tries again.
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

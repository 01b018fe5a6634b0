"""Give several devices new keys in one transaction: all of them get one, or none does."""

import time
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.db import OperationalError, transaction

from devices.keys import hash_key
from devices.models import KEY_FIELDS, Device, DeviceState

LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL, appendix A
LOCK_ATTEMPTS = 30
LOCK_PAUSE_SECONDS = 0.1


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
        Device.objects.bulk_update(devices, KEY_FIELDS)
    return keys


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

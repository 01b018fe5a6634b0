"""Registers the devices of a checked table in one transaction."""

from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction

from devices.changes import log_added
from devices.models import Device, DeviceTag
from devices.registration.table import Fault, InvalidTable, NewDevice, checked, taken
from devices.tagging import TooManyTags, UnknownTags, retagged, tags_named
from devices.tags import key_of


def register_table(body: bytes, *, may_add_tags: bool, by: int, now: datetime) -> list[tuple[Device, str]]:
    """Registers the devices of the table; returns each with its API key, of which only the hash is stored.

    `by`: the account under which the list of changes has them. Raises InvalidTable: then nothing was written.
    """
    devices = checked(body, may_add_tags=may_add_tags)
    try:
        with transaction.atomic():
            return register(devices, may_add_tags=may_add_tags, by=by, now=now)
    except IntegrityError as error:  # somebody registered one of them after the check
        faults: list[Fault] = []
        taken(devices, faults)
        if not faults:
            raise
        raise InvalidTable(faults) from error
    except (TooManyTags, UnknownTags) as error:  # somebody added or deleted tags after the check
        raise InvalidTable([Fault(devices[0].line, "tags", "tags_changed", str(error))]) from error


def register(devices: Sequence[NewDevice], *, may_add_tags: bool, by: int, now: datetime) -> list[tuple[Device, str]]:
    tags = tags_named([name for device in devices for name in device.tags], may_create=may_add_tags, by=by)
    by_key = {tag.key: tag for tag in tags}
    registered = Device.objects.register_all([device.fields for device in devices])
    given = [
        DeviceTag(device=made, tag=by_key[key_of(name)])
        for (made, _), device in zip(registered, devices, strict=True)
        for name in device.tags
    ]
    DeviceTag.objects.bulk_create(given, batch_size=1_000)
    retagged(sorted({tag.device_id for tag in given}), now=now)
    log_added([made for made, _ in registered], by=by)
    return registered

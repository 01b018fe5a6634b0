"""Registers the devices of a checked table in one transaction."""

from collections.abc import Sequence
from datetime import datetime

from django.db import IntegrityError, transaction

from devices.access.callers import Caller
from devices.api.tag_errors import ADD_TAGS
from devices.changes.log import Author, log_added
from devices.models import Device, DeviceTag
from devices.registration.table import Fault, InvalidTable, NewDevice, checked, taken
from devices.tags.names import key_of
from devices.tags.tagging import TooManyTags, UnknownTags, retagged, tags_named


def register_table(body: bytes, caller: Caller, *, by: Author, now: datetime) -> list[tuple[Device, str]]:
    """Registers the devices of the table; returns each with its API key, of which only the hash is stored.

    Raises InvalidTable: then nothing was written.
    """
    devices = checked(body, caller, may_add_tags=may_add(caller))
    try:
        with transaction.atomic():
            return register(devices, caller, by=by, now=now)
    except IntegrityError as error:  # somebody registered one of them after the check
        faults: list[Fault] = []
        taken(devices, faults)
        if not faults:
            raise
        raise InvalidTable(faults) from error
    except (TooManyTags, UnknownTags) as error:  # somebody added or deleted tags after the check
        raise InvalidTable([Fault(devices[0].line, "tags", "tags_changed", str(error))]) from error


def may_add(caller: Caller) -> bool:
    """Whether a tag that does not exist yet is made. One that a limited caller would make is none of its own."""
    return caller.may(ADD_TAGS) and caller.limit is None


def register(devices: Sequence[NewDevice], caller: Caller, *, by: Author, now: datetime) -> list[tuple[Device, str]]:
    names = [name for device in devices for name in device.tags]
    tags = tags_named(names, may_create=may_add(caller), by=by, viewer=caller)
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

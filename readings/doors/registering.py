"""Registers the devices that a door sees first, for tokens with the scope `register`."""

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from devices.access.callers import Caller
from devices.changes.log import author, log_added
from devices.models import Device, Tag
from devices.querysets import DeviceIdTaken
from devices.tags.names import TAGS_OF_DEVICE_MAX
from devices.tags.tagging import set_tags
from devices.tokens.scopes import Scope
from readings.ingest.token_limits import record_for
from readings.ingest.way import Recording
from readings.log.entries import NewReading
from readings.log.recording import Recorded

# Devices that one post may register. The rest of its unknown devices are refused, and registered by later posts.
REGISTERED_AT_ONCE = 100


async def record_seen(
    caller: Caller, way: Recording, readings: Sequence[NewReading], *, received_at: datetime
) -> list[Recorded]:
    """As `record_for`; if the caller is a token with the scope `register`, first registers unknown devices."""
    if readings and caller.has_scope(Scope.REGISTER):
        await way.ask(register_unknown, [reading.device_id for reading in readings], caller)
    return await record_for(caller, way, readings, received_at=received_at)


def registered_among(device_ids: Sequence[str]) -> list[str]:
    """Those of the ids that are registered, in the same order."""
    known = set(Device.objects.filter(device_id__in=device_ids).values_list("device_id", flat=True))
    return [device_id for device_id in device_ids if device_id in known]


def register_unknown(device_ids: Collection[str], caller: Caller) -> None:
    """Registers the unknown devices among these, at most REGISTERED_AT_ONCE, with the tags that limit the token.

    Their keys are not shown, so they need a rotation before a device can post with a key of its own.
    """
    asked = dict.fromkeys(device_ids)
    known = set(Device.objects.filter(device_id__in=list(asked)).values_list("device_id", flat=True))
    unknown = [device_id for device_id in asked if device_id not in known]
    if not unknown:
        return
    now = timezone.now()
    for device_id in sorted(unknown[:REGISTERED_AT_ONCE]):
        try:
            with transaction.atomic():
                device, _ = Device.objects.register(device_id=device_id)
                log_added([device], by=author(caller))
                if caller.limit:
                    tags = Tag.objects.filter(pk__in=caller.limit).by_name().select_for_update(no_key=True)
                    set_tags(device, list(tags[:TAGS_OF_DEVICE_MAX]), now=now)
        except DeviceIdTaken:  # by another process meanwhile
            continue

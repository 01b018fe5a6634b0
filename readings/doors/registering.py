"""Registers the devices that a door sees first, for tokens with the scope `register`."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.utils import timezone

from devices.access.callers import Caller
from devices.changes.log import author, log_added
from devices.models import ApiToken, Device, Tag
from devices.tags.names import TAGS_OF_DEVICE_MAX
from devices.tags.tagging import set_tags
from devices.tokens.scopes import Scope
from readings.ingest.token_limits import record_for
from readings.ingest.way import Recording
from readings.log.entries import NewReading, Refusal
from readings.log.recording import UNKNOWN_DEVICE, Recorded

# Devices that one post may register. The rest of its unknown devices are refused, and registered by later posts.
REGISTERED_AT_ONCE = 20
# Devices that a token may register within an hour, from the first one on.
REGISTERED_AN_HOUR, HOUR = 500, timedelta(hours=1)
ATTEMPTS = 3
# Both have the code of unknown devices, because the limits of their notes and the answers of doors depend on it.
OVER_AT_ONCE = Refusal(
    "device_id",
    UNKNOWN_DEVICE.code,
    f"There is no device with this id yet: a post registers at most {REGISTERED_AT_ONCE} devices. Send it again.",
)
OVER_AN_HOUR = Refusal(
    "device_id",
    UNKNOWN_DEVICE.code,
    f"There is no device with this id, and this token has registered {REGISTERED_AN_HOUR} devices within an hour, "
    "which is its limit. Send it again later.",
)


async def record_seen(
    caller: Caller, way: Recording, readings: Sequence[NewReading], *, received_at: datetime
) -> list[Recorded]:
    """As `record_for`; if the caller is a token with the scope `register`, first registers unknown devices.

    Readings of devices beyond the limits of registration are refused with that reason.
    """
    left: dict[str, Refusal] = {}
    if readings and caller.has_scope(Scope.REGISTER):
        unknown = await way.ask(unknown_among, [reading.device_id for reading in readings])
        if unknown:
            left = await way.register(register_seen, unknown, caller)
    recorded = await record_for(caller, way, readings, received_at=received_at)
    if not left:
        return recorded
    return [
        Recorded(refusal=left[reading.device_id])
        if outcome.refusal is not None and reading.device_id in left
        else outcome
        for reading, outcome in zip(readings, recorded, strict=True)
    ]


def registered_among(device_ids: Sequence[str]) -> list[str]:
    """Those of the ids that are registered, in the same order."""
    known = set(Device.objects.filter(device_id__in=device_ids).values_list("device_id", flat=True))
    return [device_id for device_id in device_ids if device_id in known]


def unknown_among(device_ids: Collection[str]) -> list[str]:
    """Those of the ids that are not registered, each once, in the same order."""
    asked = dict.fromkeys(device_ids)
    known = set(Device.objects.filter(device_id__in=list(asked)).values_list("device_id", flat=True))
    return [device_id for device_id in asked if device_id not in known]


def register_seen(device_ids: Sequence[str], caller: Caller) -> dict[str, Refusal]:
    """Registers these devices in one transaction, as far as the limits allow; returns why others were not, by id.

    They get the tags that limit the token. Their keys are not shown, so they need a rotation before a device can post
    with a key of its own.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with transaction.atomic():
                return register_some(unknown_among(device_ids), caller, now=timezone.now())
        except IntegrityError:  # one of them was registered by somebody else meanwhile
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def register_some(unknown: Sequence[str], caller: Caller, *, now: datetime) -> dict[str, Refusal]:
    assert caller.token is not None
    # Locked, so that the limit holds although several processes register for the token.
    token = ApiToken.objects.select_for_update(no_key=True).filter(pk=caller.token.id).first()
    if token is None or not unknown:  # None: it was revoked meanwhile
        return {}
    if token.registering_since is None or not now - HOUR < token.registering_since <= now:
        token.registering_since, token.registered_count = now, 0
    room = max(0, REGISTERED_AN_HOUR - (token.registered_count or 0))
    chosen = sorted(unknown[: min(REGISTERED_AT_ONCE, room)])
    if chosen:
        devices = [device for device, _ in Device.objects.register_all([{"device_id": name} for name in chosen])]
        log_added(devices, by=author(caller))
        if caller.limit:
            tags = Tag.objects.filter(pk__in=caller.limit).by_name().select_for_update(no_key=True)
            for device in devices:
                set_tags(device, list(tags[:TAGS_OF_DEVICE_MAX]), now=now)
        token.registered_count = (token.registered_count or 0) + len(chosen)
        token.save(update_fields=["registering_since", "registered_count"])
    why = OVER_AN_HOUR if room <= REGISTERED_AT_ONCE else OVER_AT_ONCE
    return dict.fromkeys(unknown[len(chosen) :], why)

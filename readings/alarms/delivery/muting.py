"""Mutes: until a time, alarms of a rule or about a device are recorded and nothing is sent.

When a mute ends, what it held back is sent if it still matters: `readings.alarms.delivery.releasing`.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from devices.changes import Author, log_changed
from devices.models import Device
from devices.times import rfc3339
from readings.alarms.models import DeviceMute, Rule

MUTE_MAX = timedelta(days=366)


def mute_device(device: Device, until: datetime | None, *, by: Author | None = None) -> None:
    """Mutes the device until then; None ends the mute. `by`: the account for the list of changes."""
    with transaction.atomic():
        before = DeviceMute.objects.filter(device=device).values_list("until", flat=True).first()
        if until is None:
            changed = DeviceMute.objects.filter(device=device).delete()[0]
        else:
            changed = before != until
            DeviceMute.objects.update_or_create(device=device, defaults={"until": until})
        if changed and by is not None:
            was, became = ({"muted_until": time and rfc3339(time)} for time in (before, until))
            log_changed([device], muted_text(until), by=by, before=was, after=became)


def mute_rule(rule: Rule, until: datetime | None, *, by: Author | None = None) -> None:
    """Mutes the rule until then; None ends the mute. Raises Rule.DoesNotExist if it was deleted."""
    with transaction.atomic():
        rule = Rule.objects.existing().select_for_update().get(pk=rule.pk)
        if rule.muted_until != until:
            Rule.objects.filter(pk=rule.pk).update(muted_until=until)
            if by is not None:
                was, became = ({"muted_until": time and rfc3339(time)} for time in (rule.muted_until, until))
                log_changed([rule], muted_text(until), by=by, before=was, after=became)


def muted_text(until: datetime | None) -> str:
    """A change for the list of changes."""
    return "Ended the mute of its alarms." if until is None else f"Muted its alarms until {until:%Y-%m-%d %H:%M} UTC."


def muted_until(device: Device, *, now: datetime) -> datetime | None:
    """None if the device is not muted now."""
    return DeviceMute.objects.filter(device=device, until__gt=now).values_list("until", flat=True).first()


def muted_alarms(*, now: datetime) -> Q:
    """Matches alarms whose rule or device is muted now."""
    of_device = DeviceMute.objects.filter(device_id=OuterRef("device_id"), until__gt=now)
    return Q(rule__muted_until__gt=now) | Q(Exists(of_device))


def muted_devices(device_ids: Collection[str], *, now: datetime) -> set[str]:
    """Those of the devices that are muted now."""
    muted = DeviceMute.objects.filter(device_id__in=device_ids, until__gt=now)
    return {str(device_id) for device_id in muted.values_list("device_id", flat=True)}

"""Mutes: until a time, alarms of a rule, about a device or about the devices with a tag are recorded, nothing is sent.

When a mute ends, what it held back is sent if it still matters: `readings.alarms.delivery.releasing`. That and whoever
sets a mute lock the alarms, so that a mute begins before all of it or after.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from devices.changes.log import Author, log_changed
from devices.models import Device, DeviceTag, Tag
from devices.times import rfc3339
from readings.alarms.models import DeviceMute, Rule, RuleSet, TagMute
from readings.upkeep.rollups import limit_lock_wait

MUTE_MAX = timedelta(days=366)


def lock_alarms() -> None:
    """Waits for a step of the evaluation that is being stored, and lets no other one store until the commit.

    Whoever locks a device or a tag too locks it first, as a change of tags and the erasure of a device do.
    """
    limit_lock_wait()
    list(RuleSet.objects.select_for_update().values_list("version", flat=True))


def mute_device(device: Device, until: datetime | None, *, by: Author | None = None) -> None:
    """Mutes the device until then; None ends the mute. `by`: the account for the list of changes.

    Raises Device.DoesNotExist if it was deleted.
    """
    with transaction.atomic():
        device = Device.objects.select_for_update(no_key=True).get(pk=device.pk)
        lock_alarms()
        keep_until(DeviceMute, until, by=by, device=device)


def mute_tag(tag: Tag, until: datetime | None, *, by: Author | None = None) -> None:
    """Mutes the devices that have the tag, as long as they have it, until then; None ends the mute.

    Raises Tag.DoesNotExist if it was deleted.
    """
    with transaction.atomic():
        tag = Tag.objects.select_for_update(no_key=True).get(pk=tag.pk)
        lock_alarms()
        keep_until(TagMute, until, by=by, tag=tag)


def keep_until(mutes: type[DeviceMute | TagMute], until: datetime | None, *, by: Author | None, **muted: Any) -> None:
    """Replaces the mute of this device or tag, which is locked; None deletes it. A change is logged."""
    kept = mutes.objects.filter(**muted)
    before = kept.values_list("until", flat=True).first()
    if before == until:
        return
    if until is None:
        kept.delete()
    else:
        mutes.objects.update_or_create(**muted, defaults={"until": until})
    if by is not None:
        was, became = ({"muted_until": time and rfc3339(time)} for time in (before, until))
        log_changed(list(muted.values()), muted_text(until), by=by, before=was, after=became)


def mute_rule(rule: Rule, until: datetime | None, *, by: Author | None = None) -> None:
    """Mutes the rule until then; None ends the mute. Raises Rule.DoesNotExist if it was deleted."""
    with transaction.atomic():
        lock_alarms()
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
    """When the mute of the device itself ends; None if it is not muted now. Its tags may be muted too."""
    return DeviceMute.objects.filter(device=device, until__gt=now).values_list("until", flat=True).first()


def tag_muted_until(tag: Tag, *, now: datetime) -> datetime | None:
    """None if the tag is not muted now."""
    return TagMute.objects.filter(tag=tag, until__gt=now).values_list("until", flat=True).first()


def muted_alarms(*, now: datetime) -> Q:
    """Matches alarms whose rule, device or one of its tags is muted now."""
    of_device = DeviceMute.objects.filter(device_id=OuterRef("device_id"), until__gt=now)
    muted_tags = TagMute.objects.filter(until__gt=now)
    of_tag = DeviceTag.objects.filter(device_id=OuterRef("device_id"), tag_id__in=muted_tags.values("tag_id"))
    return Q(rule__muted_until__gt=now) | Q(Exists(of_device)) | Q(Exists(of_tag))


def muted_devices(device_ids: Collection[str], *, now: datetime) -> set[str]:
    """Those of the devices that are muted now, or have a tag that is. Two queries."""
    muted = DeviceMute.objects.filter(device_id__in=device_ids, until__gt=now)
    found = {str(device_id) for device_id in muted.values_list("device_id", flat=True)}
    tags = list(TagMute.objects.filter(until__gt=now).values_list("tag_id", flat=True))
    if tags:
        tagged = DeviceTag.objects.filter(tag_id__in=tags, device_id__in=device_ids)
        found |= {str(device_id) for device_id in tagged.values_list("device_id", flat=True)}
    return found

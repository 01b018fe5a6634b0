"""Which devices a rule applies to: those that it names, those that have all of its tags, or all."""

from collections.abc import Sequence

from devices.models import Device, DeviceTag, Tag
from devices.tags.names import distinct
from devices.tags.tagging import UnknownTags
from readings.alarms.models import Rule, RuleDevice, RuleTag


def lock_tags(names: Sequence[str]) -> list[Tag]:
    """The tags with these names in the order of their keys, locked so that nobody deletes them. Raises UnknownTags.

    Called before the version of the rules is raised: whoever changes the tags of a device locks in this order too.
    """
    wanted = distinct(names)
    tags = list(Tag.objects.filter(key__in=list(wanted)).select_for_update(no_key=True).by_name())
    found = {tag.key for tag in tags}
    if unknown := [name for key, name in wanted.items() if key not in found]:
        raise UnknownTags(unknown)
    return sorted(tags, key=lambda tag: tag.key)


def tags_of(rule: Rule) -> list[Tag]:
    """The tags that the rule names, in the order of their keys."""
    named = Tag.objects.filter(pk__in=RuleTag.objects.filter(rule=rule).values("tag_id"))
    return sorted(named, key=lambda tag: tag.key)


def name_tags(rule: Rule, tags: Sequence[Tag]) -> None:
    RuleTag.objects.filter(rule=rule).delete()
    RuleTag.objects.bulk_create([RuleTag(rule=rule, tag=tag) for tag in tags])


def devices_of(rule: Rule) -> list[str]:
    """The devices that the rule names, in the order of their ids. A rule with tags names none."""
    if RuleTag.objects.filter(rule=rule).exists():
        return []
    return applied_devices(rule)


def applied_devices(rule: Rule) -> list[str]:
    """The devices that the rule names, or that have its tags, in the order of their ids. Empty for all devices too."""
    applied = RuleDevice.objects.filter(rule=rule).order_by("device_id")
    return [str(device_id) for device_id in applied.values_list("device_id", flat=True)]


def tagged_devices(tags: Sequence[Tag]) -> list[str]:
    """The ids of the devices that have all of these tags."""
    having: dict[str, int] = {}
    for device_id in DeviceTag.objects.filter(tag__in=tags).values_list("device_id", flat=True):
        having[str(device_id)] = having.get(str(device_id), 0) + 1
    return sorted(device_id for device_id, number in having.items() if number == len(tags))


def name_devices(rule: Rule, device_ids: Sequence[str]) -> None:
    """Writes to which devices the rule applies from now on. Devices that do not exist are left out."""
    RuleDevice.objects.filter(rule=rule).delete()
    chosen = Device.objects.filter(device_id__in=device_ids)
    RuleDevice.objects.bulk_create([RuleDevice(rule=rule, device=device) for device in chosen], batch_size=1_000)

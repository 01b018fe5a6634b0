"""Changes of tags and of the tags of devices. Everything that changes them calls this, inside a transaction.

What an app above this one decides by tags, it learns here: `also_retags` and `also_uses_tags`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Count

from devices.changes.log import Author, log_added, log_changed, log_deleted, values_of
from devices.models import Device, DeviceTag, Tag
from devices.querysets import Viewer
from devices.tags.names import TAGS_MAX, TAGS_OF_DEVICE_MAX, distinct, key_of, normalised, usual_colour

# Called in the transaction, after the tags of these devices have changed. The devices' rows are locked.
Retagger = Callable[[Collection[str], datetime], None]
# Called in the transaction that would delete the tag; returns what needs it, such as "the alarm rule Too warm".
User = Callable[[Tag], list[str]]

retaggers: list[Retagger] = []
users: list[User] = []


def also_retags(retagger: Retagger) -> None:
    """Registers what follows a change of the tags of devices, once."""
    if retagger not in retaggers:
        retaggers.append(retagger)


def also_uses_tags(user: User) -> None:
    """Registers what may need a tag that somebody wants to delete, once."""
    if user not in users:
        users.append(user)


class UnknownTags(Exception):
    """There are no tags with these names, and whoever named them may not make any."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"There is no tag {names[0]!r}.")


class TooManyTags(Exception):
    """One tag more than TAGS_MAX, or more than TAGS_OF_DEVICE_MAX tags of a device."""


class TagTaken(Exception):
    """Another tag has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is already a tag {name!r}.")


class TagInUse(Exception):
    """Something needs the tag."""

    def __init__(self, tag: Tag, needed_by: list[str]) -> None:
        self.needed_by = needed_by
        shown = ", ".join(needed_by[:5]) + (f" and {len(needed_by) - 5} more" if len(needed_by) > 5 else "")
        super().__init__(f"The tag {tag.name!r} cannot be deleted, because it is used by: {shown}.")


class OutsideLimit(Exception):
    """The author is limited to tags, and the change concerns other tags or takes a device out of them."""


def check_limit(viewer: Viewer, before: Iterable[Tag], after: Iterable[Tag]) -> None:
    """Raises OutsideLimit if a limited viewer may not change the tags of a device in this way.

    It can neither give nor take a tag that is not its own, and the device keeps at least one of its own.
    """
    if viewer.limit is None:
        return
    had, has = {tag.pk: tag for tag in before}, {tag.pk: tag for tag in after}
    changed = {**had, **has}
    for pk in sorted(had.keys() ^ has.keys()):
        if pk not in viewer.limit:
            raise OutsideLimit(f"You are limited to some tags, and the tag {changed[pk].name!r} is none of them.")
    if not has.keys() & viewer.limit:
        own = Tag.objects.filter(pk__in=viewer.limit).by_name().values_list("name", flat=True)
        raise OutsideLimit(f"You are limited to some tags. The device needs at least one of them: {', '.join(own)}.")


def tags_of(device: Device) -> list[Tag]:
    """The tags of the device in the order of their names."""
    return list(Tag.objects.filter(pk__in=DeviceTag.objects.filter(device=device).values("tag_id")).by_name())


def tags_named(names: Iterable[str], *, may_create: bool, by: Author, viewer: Viewer | None = None) -> list[Tag]:
    """The tags with these names, which must be valid, in the order of their names; makes those that are missing.

    `by`: the account under which the list of changes has them. Raises UnknownTags unless `may_create`, and TooManyTags.
    """
    wanted = distinct(names)
    # Locked, so that none is deleted before the device that gets it is committed. In the order of the keys, which
    # prevents deadlocks.
    # A tag that `viewer` may not see is as unknown to it as one that there is not.
    tags = Tag.objects.all() if viewer is None else Tag.objects.visible_to(viewer)
    known = tags.filter(key__in=list(wanted)).select_for_update(no_key=True).by_name()
    found = {tag.key: tag for tag in known}
    missing = [name for key, name in wanted.items() if key not in found]
    if missing and not may_create:
        raise UnknownTags(missing)
    if missing and Tag.objects.count() + len(missing) > TAGS_MAX:
        raise TooManyTags(f"There may be {TAGS_MAX:,} tags.")
    made = []
    for name in missing:  # in the order of the keys, so that transactions which make the same tags do not deadlock
        tag, is_new = Tag.objects.get_or_create(key=key_of(name), defaults={"name": name, "colour": usual_colour(name)})
        found[tag.key] = tag
        made += [tag] if is_new else []
    if made:
        log_added(made, by=by)
    return [found[key] for key in wanted]


def create_tag(name: str, *, colour: str | None, by: Author) -> Tag:
    """A new tag. Raises TagTaken and TooManyTags."""
    if Tag.objects.count() >= TAGS_MAX:
        raise TooManyTags(f"There may be {TAGS_MAX:,} tags.")
    try:
        with transaction.atomic():
            tag = Tag.objects.create(name=normalised(name), key=key_of(name), colour=colour or usual_colour(name))
    except IntegrityError as error:
        raise TagTaken(name) from error
    log_added([tag], by=by)
    return tag


def change_tag(tag: Tag, *, name: str | None = None, colour: str | None = None, by: Author) -> None:
    """Changes what is not None. Devices and rules keep the tag. Raises TagTaken."""
    wanted = {"name": None if name is None else normalised(name), "colour": colour}
    changed = [field for field, value in wanted.items() if value is not None and getattr(tag, field) != value]
    before = values_of(tag, changed)
    for field in changed:
        setattr(tag, field, wanted[field])
    tag.key = key_of(tag.name)
    try:
        with transaction.atomic():
            tag.save(update_fields=["name", "key", "colour"])
    except IntegrityError as error:
        raise TagTaken(tag.name) from error
    log_changed([tag], changed, by=by, before=before, after=values_of(tag, changed))


def delete_tag(tag: Tag, *, by: Author) -> None:
    """Deletes the tag, and takes it from its devices. Raises TagInUse, and Tag.DoesNotExist if it is gone already."""
    tag = Tag.objects.select_for_update().get(pk=tag.pk)
    if needed_by := [use for user in users for use in user(tag)]:
        raise TagInUse(tag, needed_by)
    log_deleted([tag], by=by)
    tag.delete()


def set_tags(device: Device, tags: Sequence[Tag], *, now: datetime, viewer: Viewer | None = None) -> bool:
    """Gives the device these tags and no others; returns whether that changes them. The device's row must be locked.

    Raises TooManyTags, and OutsideLimit if `viewer`, who changes them, is limited to other tags.
    """
    if len(tags) > TAGS_OF_DEVICE_MAX:
        raise TooManyTags(f"A device may have {TAGS_OF_DEVICE_MAX} tags.")
    if viewer is not None and viewer.limit is not None:
        check_limit(viewer, tags_of(device), tags)
    of_device = DeviceTag.objects.filter(device=device)
    before = set(of_device.values_list("tag_id", flat=True))
    wanted = {tag.pk for tag in tags}
    if before == wanted:
        return False
    of_device.filter(tag_id__in=before - wanted).delete()
    DeviceTag.objects.bulk_create([DeviceTag(device=device, tag_id=pk) for pk in sorted(wanted - before)])
    retagged([device.device_id], now=now)
    return True


def add_tag(devices: Sequence[Device], tag: Tag, *, now: datetime) -> list[Device]:
    """Gives these devices, whose rows must be locked, the tag; returns those that did not have it.

    Raises TooManyTags.
    """
    having = set(DeviceTag.objects.filter(tag=tag).values_list("device_id", flat=True))
    added = [device for device in devices if device.device_id not in having]
    full = full_devices(added)
    if full:
        raise TooManyTags(f"A device may have {TAGS_OF_DEVICE_MAX} tags, and {full[0]} has as many.")
    DeviceTag.objects.bulk_create([DeviceTag(device=device, tag=tag) for device in added], batch_size=1_000)
    retagged([device.device_id for device in added], now=now)
    return added


def full_devices(devices: Sequence[Device]) -> list[str]:
    """The ids of the devices that have as many tags as a device may have."""
    chosen = {device.device_id for device in devices}
    counted = DeviceTag.objects.values("device_id").annotate(tags=Count("tag_id")).filter(tags__gte=TAGS_OF_DEVICE_MAX)
    return sorted(chosen.intersection(counted.values_list("device_id", flat=True)))


def remove_tag(devices: Sequence[Device], tag: Tag, *, now: datetime) -> list[Device]:
    """Takes the tag from these devices; returns those that had it. Their rows must be locked."""
    having = set(DeviceTag.objects.filter(tag=tag).values_list("device_id", flat=True))
    removed = [device for device in devices if device.device_id in having]
    for first in range(0, len(removed), 500):
        chosen = [device.device_id for device in removed[first : first + 500]]
        DeviceTag.objects.filter(tag=tag, device_id__in=chosen).delete()
    retagged([device.device_id for device in removed], now=now)
    return removed


def retagged(device_ids: Collection[str], *, now: datetime) -> None:
    if device_ids:
        for retagger in retaggers:
            retagger(device_ids, now)

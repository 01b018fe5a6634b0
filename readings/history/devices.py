"""Which devices a query of several names: by id, by tag, or both."""

from collections.abc import Sequence

from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError

from devices.models import Device, Tag
from devices.querysets import DeviceQuerySet, Viewer
from devices.tags.names import distinct
from readings.history.parameters import DEVICES_MAX


def named_devices(
    devices: DeviceQuerySet, viewer: Viewer, *, device_id: Sequence[str] = (), tag: Sequence[str] = ()
) -> list[Device]:
    """Those of `devices` with one of the ids, in that order, then the others that have all of the tags, by id.

    Raises NotFound for the first unknown device, and ValidationError for an unknown tag and for more than DEVICES_MAX
    devices.
    """
    asked = list(dict.fromkeys(device_id))
    found = {device.device_id: device for device in devices.filter(device_id__in=asked)} if asked else {}
    if missing := [one for one in asked if one not in found]:
        raise NotFound(f"There is no device {missing[0]}.")
    chosen = [found[one] for one in asked]
    if tag:
        check_tags(viewer, tag)
        tagged = devices.tagged(tag).exclude(device_id__in=asked).order_by("device_id")
        chosen += tagged[: DEVICES_MAX + 1 - len(chosen)]
    if len(chosen) > DEVICES_MAX:
        detail = f"These are more than {DEVICES_MAX} devices. Name another tag too: only devices with all tags count."
        raise ValidationError({"tag": ErrorDetail(detail, code="too_many_devices")})
    return chosen


def check_tags(viewer: Viewer, names: Sequence[str]) -> None:
    """Raises ValidationError for the first of these names that no tag has which the viewer may see."""
    wanted = distinct(names)
    known = set(Tag.objects.visible_to(viewer).named(names).values_list("key", flat=True))
    if missing := [name for key, name in wanted.items() if key not in known]:
        raise ValidationError({"tag": ErrorDetail(f"There is no tag {missing[0]!r}.", code="unknown_tag")})

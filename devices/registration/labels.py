"""QR codes for the labels of new devices."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from django.utils.safestring import SafeString, mark_safe

from devices.models import Device


class Label(NamedTuple):
    """`code`: the QR code as SVG."""

    device_id: str
    name: str
    code: SafeString


def labels_with_keys(keys: Sequence[tuple[str, str]], *, server: str) -> list[Label]:
    """Labels to set devices up with. Each code is JSON: `{"server", "device_id", "api_key"}`."""
    names = dict(Device.objects.filter(device_id__in=[one for one, _ in keys]).values_list("device_id", "name"))
    return [
        Label(device_id, names.get(device_id, ""), code(provisioning(server, device_id, key)))
        for device_id, key in keys
    ]


def labels_with_addresses(device_ids: Sequence[str], *, server: str) -> list[Label]:
    """Labels to leave on devices. Each code is the address of the device's page, and contains no key."""
    devices = Device.objects.filter(device_id__in=device_ids).order_by("device_id")
    return [
        Label(device.device_id, device.name, code(f"{server}{device.get_absolute_url()}"))  # type: ignore[attr-defined]
        for device in devices
    ]


def provisioning(server: str, device_id: str, key: str) -> str:
    return msgspec.json.encode({"server": server, "device_id": device_id, "api_key": key}).decode()


def code(text: str) -> SafeString:
    """The QR code of a text as SVG without a size, so that the style sheet gives it one. Any reader reads it."""
    import segno  # here, because it takes 1 MB of every process

    made = segno.make(text, error="m", micro=False)
    # segno escapes what it writes into SVG; the text is in the drawing alone.
    return mark_safe(made.svg_inline(omitsize=True, border=2, svgclass=None, lineclass=None))  # noqa: S308

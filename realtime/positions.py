"""Where logs end and how their devices are: one query a process every few seconds, whatever it watches."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from devices.models import AccessVersion, Device


class Position(NamedTuple):
    """`status` is a value of `devices.status.Status`."""

    device_id: str
    last_seq: int
    status: str


class Positions(NamedTuple):
    """The revocations committed before the newest of them are counted by `access_version`."""

    found: list[Position]
    access_version: int


def positions(device_ids: Collection[str] | None, *, now: datetime) -> Positions:
    """Of these devices, or (None) of the whole fleet."""
    devices = Device.objects.with_status(now=now)
    if device_ids is not None:
        devices = devices.filter(device_id__in=device_ids)
    # `status` is an annotation, which the type checker cannot see.
    rows = devices.values_list("device_id", "state__last_seq", "status")  # type: ignore[misc]
    return Positions([Position(*row) for row in rows], AccessVersion.objects.current())

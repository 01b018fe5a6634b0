"""Where logs end and how their devices are: one query a process every few seconds, whatever it watches."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from devices.models import AccessVersion, Device


class Position(NamedTuple):
    """`status` is a value of `devices.status.Status`; `log_id` is the device's UUID."""

    device_id: str
    last_seq: int
    status: str
    log_id: str


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
    rows = devices.values_list("device_id", "state__last_seq", "status", "pk")  # type: ignore[misc]
    found = [Position(device_id, last_seq, status, str(pk)) for device_id, last_seq, status, pk in rows]
    return Positions(found, AccessVersion.objects.current())

"""The ends of logs and the statuses of their devices: one query every few seconds for the whole process."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from devices.models import AccessVersion, Device
from realtime.protocol.frames import moment


class Position(NamedTuple):
    """The length of one log, and the state of its device.

    `status` is a value of `devices.status.Status`, `last_seen_at` a text of `frames.moment`, `log_id` the device's
    UUID.
    """

    device_id: str
    last_seq: int
    status: str
    last_seen_at: str | None
    log_id: str


class Positions(NamedTuple):
    """Positions, and the number of revocations committed before the newest of them (`access_version`)."""

    found: list[Position]
    access_version: int


def positions(device_ids: Collection[str] | None, *, now: datetime) -> Positions:
    """The positions of these devices; of the whole fleet if `device_ids` is None. Two queries."""
    devices = Device.objects.with_status(now=now)
    if device_ids is not None:
        devices = devices.filter(device_id__in=device_ids)
    # `status` is an annotation, which mypy does not know.
    rows = devices.values_list("device_id", "state__last_seq", "status", "state__last_seen_at", "pk")  # type: ignore[misc]
    found = [
        Position(device_id, last_seq, status, moment(last_seen_at), str(pk))
        for device_id, last_seq, status, last_seen_at, pk in rows
    ]
    return Positions(found, AccessVersion.objects.current())

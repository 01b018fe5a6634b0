"""Figures about the fleet for the console's first page: a constant number of queries; no query counts readings."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import F, QuerySet, Sum

from devices.models import Device, DeviceState, Tag
from devices.querysets import Viewer, of_visible_devices, sees_every_device
from devices.status import Status
from readings.models import MaintenanceRound, Rejection
from readings.upkeep.clock import description
from readings.upkeep.rounds import is_late, last_round

RATE_SECONDS = 60
LISTED = 5
# Offline devices, so that each of them is one click away; the fleet page has those beyond.
OFFLINE_LISTED = 200
TAGS_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The figures of the first page.

    `readings`: number of readings ever stored. `waiting`: how many of them are in no hourly rollup yet. `sealed`: how
    many of them were sealed, whether or not retention has deleted them since.
    `per_minute`: readings per minute, None until there has been a round of maintenance, and for a limited viewer.
    `storage`: of the whole database, in bytes; None for a viewer that does not see every device.
    `clock`: what is wrong with the clock, "" if nothing is (`readings.upkeep.clock`).
    `gone`: the offline devices, those that were last heard from most recently first, at most OFFLINE_LISTED.
    `tags`: those with the most devices, at most TAGS_LISTED, in the order of their names, with `device_count`.
    `refused`: the latest refused posts, at most LISTED.
    """

    devices: int
    inactive: int
    statuses: dict[Status, int]
    readings: int
    waiting: int
    sealed: int
    per_minute: float | None
    storage: int | None
    maintained: MaintenanceRound | None
    maintenance_is_late: bool
    clock: str
    gone: list[Device]
    tags: list[Tag]
    refused: list[Rejection]

    @property
    def sealed_percent(self) -> int:
        return self.sealed * 100 // self.readings if self.readings else 0


def overview(viewer: Viewer, *, now: datetime) -> Overview:
    """The figures of the devices that the viewer may see."""
    devices = Device.objects.visible_to(viewer)
    statuses = devices.counts_by_status(now=now)
    inactive = devices.filter(is_active=False).count()
    logs = DeviceState.objects.filter(of_visible_devices(viewer)).aggregate(
        length=Sum("last_seq"), waiting=Sum(F("last_seq") - F("rolled_up_seq")), sealed=Sum("sealed_seq")
    )
    readings = logs["length"] or 0
    maintained = last_round()
    counted: QuerySet[Any] = Tag.objects.visible_to(viewer).with_counts(viewer)
    common = list(counted.filter(device_count__gt=0).order_by("-device_count", "key")[:TAGS_LISTED])
    offline = devices.filter(is_active=True).select_related("state").with_status(now=now)
    return Overview(
        devices=sum(statuses.values()) + inactive,
        inactive=inactive,
        statuses=statuses,
        readings=readings,
        waiting=logs["waiting"] or 0,
        sealed=logs["sealed"] or 0,
        # Rounds of maintenance know only the logs of all devices.
        per_minute=readings_per_minute(readings, now=now) if sees_every_device(viewer) else None,
        storage=storage_bytes() if sees_every_device(viewer) else None,
        maintained=maintained,
        maintenance_is_late=is_late(maintained, now=now),
        clock=description(maintained) if maintained else "",
        gone=list(offline.of_status(Status.OFFLINE).order_by("-state__last_seen_at", "device_id")[:OFFLINE_LISTED]),
        tags=sorted(common, key=lambda tag: tag.key),
        refused=list(Rejection.objects.visible_to(viewer).refusals().order_by("-last_at", "-id")[:LISTED]),
    )


def readings_per_minute(readings: int, *, now: datetime) -> float | None:
    """Growth of all logs per minute since a round of about a minute ago; None without an earlier round."""
    rounds = MaintenanceRound.objects.order_by("-id")
    before = rounds.filter(finished_at__lte=now - timedelta(seconds=RATE_SECONDS)).first() or rounds.last()
    if before is None or before.finished_at >= now:
        return None
    return max(0, readings - before.logs_length) * 60 / (now - before.finished_at).total_seconds()


SIZE = "SELECT pg_database_size(current_database())"
SIZE_OF_NODES = f"SELECT sum(result::bigint) FROM run_command_on_all_nodes('{SIZE}') WHERE success"  # noqa: S608


def storage_bytes() -> int:
    """The size of the whole database on disk, in bytes; of a distributed one on all nodes that answer."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(SIZE_OF_NODES if settings.DISTRIBUTED else SIZE)
            return int(cursor.fetchone()[0])
    file = Path(str(connection.settings_dict["NAME"]))
    parts = (file, file.with_name(f"{file.name}-wal"))
    return sum(part.stat().st_size for part in parts if part.exists())

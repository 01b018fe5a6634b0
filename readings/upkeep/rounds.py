"""The latest rounds of maintenance, and the total length of all logs at each round, for the figures of the console.

The length of a log is `last_seq`, so the number of new readings between two rounds is a difference, without counting.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max, Sum

from devices.models import DeviceState
from readings.models import MaintenanceRound
from readings.upkeep.clock import TrustedTime, Uptime, as_noted
from readings.upkeep.sealing import marks

KEPT = 360  # rounds of an hour
# Maintenance is late if it has completed no round for this time.
LATE_AFTER = timedelta(minutes=30)


def note_round(*, now: datetime, rolled_up: int, deleted: int, seconds: float, **clock: Any) -> None:
    """Stores the round, and deletes all but the latest KEPT. `clock`: from `readings.upkeep.clock.as_noted`."""
    MaintenanceRound.objects.create(
        finished_at=now, rolled_up=rolled_up, deleted=deleted, seconds=seconds, logs_length=logs_length(), **clock
    )
    oldest = MaintenanceRound.objects.order_by("-id").values_list("id", flat=True)[KEPT - 1 : KEPT]
    MaintenanceRound.objects.filter(id__lt=oldest.first() or 0).delete()


def note_jump(trusted: TrustedTime, *, now: datetime, uptime: Uptime) -> None:
    """Moves the marks of receipt with the trusted time, and stores a round that did nothing else.

    In one transaction, because the next round would move them again if it did not know of the jump.
    """
    with transaction.atomic(durable=True):
        marks.follow(trusted.jump, now=now)
        note_round(now=now, rolled_up=0, deleted=0, seconds=0.0, **as_noted(trusted, uptime, seconds=0.0))


def logs_length() -> int:
    """The number of readings ever stored for all devices: the sum of the lengths of their logs."""
    return DeviceState.objects.aggregate(length=Sum("last_seq"))["length"] or 0


def last_round() -> MaintenanceRound | None:
    return MaintenanceRound.objects.order_by("-id").first()


def is_late(last: MaintenanceRound | None, *, now: datetime) -> bool:
    """Whether the newest round, `last`, was more than LATE_AFTER ago; without a round, the newest migration.

    A round more than LATE_AFTER in the future was dated by a wrong clock, so its real time is unknown. It counts as
    late too, until the next round.
    """
    since = last.finished_at if last else migrated_at()
    return since is not None and abs(now - since) > LATE_AFTER


def migrated_at() -> datetime | None:
    """The time of the newest migration of `readings`; None if there is none."""
    applied = MigrationRecorder(connection).migration_qs.filter(app="readings").aggregate(newest=Max("applied"))
    found: datetime | None = applied["newest"]
    return found

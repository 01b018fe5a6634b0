"""What maintenance did lately, and how long all logs together were then: the console's figures come from here.

The length of a log is `last_seq`, so how much came in between two rounds is a difference: nothing is counted.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Max, Sum

from devices.models import DeviceState
from readings.models import MaintenanceRound

KEPT = 360  # an hour of rounds
# Maintenance that has completed no round for so long is late.
LATE_AFTER = timedelta(minutes=30)


def note_round(*, now: datetime, rolled_up: int, deleted: int, seconds: float, **clock: Any) -> None:
    """Keeps the round, and forgets those beyond the last KEPT. `clock`: `readings.upkeep.clock.as_noted`."""
    MaintenanceRound.objects.create(
        finished_at=now, rolled_up=rolled_up, deleted=deleted, seconds=seconds, logs_length=logs_length(), **clock
    )
    oldest = MaintenanceRound.objects.order_by("-id").values_list("id", flat=True)[KEPT - 1 : KEPT]
    MaintenanceRound.objects.filter(id__lt=oldest.first() or 0).delete()


def logs_length() -> int:
    """How many readings there were ever, of all devices: the sum of where their logs end."""
    return DeviceState.objects.aggregate(length=Sum("last_seq"))["length"] or 0


def last_round() -> MaintenanceRound | None:
    return MaintenanceRound.objects.order_by("-id").first()


def is_late(last: MaintenanceRound | None, *, now: datetime) -> bool:
    """Whether `last`, the newest round, is too long ago; where there was none, the newest migration of these tables.

    A round in the future, which a wrong clock has dated, says nothing of how long ago it was, so it counts as too long
    ago as well; the next round ends that.
    """
    since = last.finished_at if last else migrated_at()
    return since is not None and abs(now - since) > LATE_AFTER


def migrated_at() -> datetime | None:
    """When this installation was set up or last upgraded, as far as its readings are concerned."""
    applied = MigrationRecorder(connection).migration_qs.filter(app="readings").aggregate(newest=Max("applied"))
    found: datetime | None = applied["newest"]
    return found

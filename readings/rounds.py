"""What maintenance did lately, and how long all logs together were then: the console's figures come from here.

The length of a log is `last_seq`, so how much came in between two rounds is a difference: nothing is counted.
"""

from datetime import datetime

from django.db.models import Sum

from devices.models import DeviceState
from readings.models import MaintenanceRound

KEPT = 360  # an hour of rounds


def note_round(*, now: datetime, rolled_up: int, deleted: int, seconds: float) -> None:
    """Keeps the round, and forgets those beyond the last KEPT."""
    MaintenanceRound.objects.create(
        finished_at=now, rolled_up=rolled_up, deleted=deleted, seconds=seconds, logs_length=logs_length()
    )
    oldest = MaintenanceRound.objects.order_by("-id").values_list("id", flat=True)[KEPT - 1 : KEPT]
    MaintenanceRound.objects.filter(id__lt=oldest.first() or 0).delete()


def logs_length() -> int:
    """How many readings there were ever, of all devices: the sum of where their logs end."""
    return DeviceState.objects.aggregate(length=Sum("last_seq"))["length"] or 0

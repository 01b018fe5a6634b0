"""When delivery last ran, for `/health`: it may run in another process."""

from datetime import datetime, timedelta

from readings.alarms.models import Channel, DeliveryRound

# Delivery is late if no process has looked for messages for so long.
LATE_AFTER = timedelta(minutes=5)


def note_round(*, now: datetime) -> None:
    DeliveryRound.objects.update_or_create(id=1, defaults={"at": now})


def is_late(*, now: datetime) -> bool:
    """Whether there are channels and no process has delivered for LATE_AFTER, since the first channel was created.

    A round more than LATE_AFTER in the future was dated by a wrong clock and counts as late too, until the next round.
    """
    since = Channel.objects.order_by("created_at").values_list("created_at", flat=True).first()
    if since is None:
        return False
    at = DeliveryRound.objects.values_list("at", flat=True).first()
    return abs(now - max(since, at or since)) > LATE_AFTER

"""Somebody acknowledges an alarm: they know of it."""

from datetime import datetime
from uuid import UUID

from django.db import transaction

from readings.alarms.models import Alarm
from readings.alarms.signals import announce, change_of


def acknowledge(pk: UUID, *, by: str, comment: str, now: datetime) -> Alarm:
    """Returns the alarm, whose rule is loaded. Raises Alarm.DoesNotExist.

    A repeated acknowledgement without a comment, or with the same one, changes nothing; with another comment it
    replaces the earlier one.
    """
    with transaction.atomic():
        locked = Alarm.objects.select_for_update(of=("self",)).select_related("rule", "device")
        alarm = locked.get(pk=pk)
        if alarm.acknowledged_at is not None and comment in ("", alarm.comment):
            return alarm
        alarm.acknowledged_at, alarm.acknowledged_by, alarm.comment = now, by, comment
        alarm.save(update_fields=["acknowledged_at", "acknowledged_by", "comment"])
    announce([change_of("acknowledged", alarm)])
    return alarm

"""Deletes resolved alarms that ended long ago, and deleted rules that no alarm names any more."""

import threading
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef

from readings.alarms.models import Alarm, Rule
from readings.upkeep.clock import read_uptime, trusted_time
from readings.upkeep.rounds import last_round

EXPIRY_INTERVAL_SECONDS = 3600.0
CHUNK_ROWS = 1_000


def expire_alarms(*, now: datetime, stop: threading.Event | None = None) -> int:
    """Deletes alarms resolved more than ALARM_RETENTION_DAYS ago, in small transactions; returns their number.

    Like the retention of readings it uses `now` only as far as `readings.upkeep.clock` trusts it.
    """
    deleted = 0
    if settings.ALARM_RETENTION_DAYS:
        trusted = trusted_time(last_round(), now=now, uptime=read_uptime()).limit(now)
        border = trusted - timedelta(days=settings.ALARM_RETENTION_DAYS)
        expired = Alarm.objects.resolved().filter(resolved_at__lt=border).order_by("resolved_at")
        while not (stop and stop.is_set()):
            chosen = list(expired.values_list("pk", flat=True)[:CHUNK_ROWS])
            if not chosen:
                break
            deleted += Alarm.objects.filter(pk__in=chosen).delete()[0]
    named = Alarm.objects.filter(rule=OuterRef("pk"))
    with transaction.atomic():
        Rule.objects.filter(~Exists(named), deleted_at__isnull=False).delete()
    return deleted

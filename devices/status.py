"""A device is judged by how many of its report intervals it has been silent for."""

from datetime import timedelta

from django.db.models import TextChoices

# One missed report is no news: networks drop packets, and a device's clock drifts.
LATE_AFTER_INTERVALS = 2
OFFLINE_AFTER_INTERVALS = 5
# By how much the clocks of two servers may differ. A receipt further in the future was dated by a wrong clock.
FUTURE_TOLERANCE = timedelta(minutes=5)


class Status(TextChoices):
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    NEVER = "never"

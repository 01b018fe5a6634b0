"""The status of a device depends on how many report intervals have passed since it was last heard from."""

from datetime import timedelta

from django.db.models import TextChoices

# One missed report is normal, because networks drop packets and a device's clock drifts.
LATE_AFTER_INTERVALS = 2
OFFLINE_AFTER_INTERVALS = 5
# Maximum difference between the clocks of two servers. A receipt further in the future was dated by a wrong clock.
FUTURE_TOLERANCE = timedelta(minutes=5)


class Status(TextChoices):
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    NEVER = "never"

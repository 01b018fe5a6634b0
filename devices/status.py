"""A device is judged by how many of its report intervals it has been silent for."""

from django.db.models import TextChoices

# One missed report is no news: networks drop packets, and a device's clock drifts.
LATE_AFTER_INTERVALS = 2
OFFLINE_AFTER_INTERVALS = 5


class Status(TextChoices):
    ONLINE = "online"
    LATE = "late"
    OFFLINE = "offline"
    NEVER = "never"

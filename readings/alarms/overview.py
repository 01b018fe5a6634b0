"""The open alarms for the console's first page."""

from typing import NamedTuple

from readings.alarms.models import Alarm

LISTED = 5


class OpenAlarms(NamedTuple):
    """How many alarms are open, and the most severe of them, at most LISTED."""

    total: int
    listed: list[Alarm]


def open_alarms() -> OpenAlarms:
    """Two queries."""
    alarms = Alarm.objects.open()
    return OpenAlarms(alarms.count(), list(alarms.most_severe_first().select_related("rule", "device")[:LISTED]))

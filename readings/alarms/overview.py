"""The open alarms for the console's first page."""

from typing import NamedTuple

from devices.querysets import Viewer
from readings.alarms.models import Alarm

LISTED = 5


class OpenAlarms(NamedTuple):
    """How many alarms are open, and the most severe of them, at most LISTED."""

    total: int
    listed: list[Alarm]


def open_alarms(viewer: Viewer) -> OpenAlarms:
    """Of the devices that the viewer may see. Two queries."""
    alarms = Alarm.objects.open().visible_to(viewer)
    return OpenAlarms(alarms.count(), list(alarms.most_severe_first().select_related("rule", "device")[:LISTED]))

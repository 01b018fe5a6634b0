"""The signal for changes of alarms. `readings.alarms` does not depend on its receivers."""

from typing import Literal
from uuid import UUID

import msgspec
from django.dispatch import Signal

from readings.alarms.documents import alarm_document
from readings.alarms.models import Alarm

__all__ = ["AlarmChange", "alarms_changed", "announce", "change_of"]

Happening = Literal["opened", "resolved", "acknowledged"]

# Sent after the commit with `send_robust`: an error in a receiver is logged and does not undo the change.
# Keyword argument `changes`: a list of `AlarmChange` in the order in which they happened. An alarm that opens and is
# resolved in the same step has one change of each kind.
alarms_changed = Signal()


class AlarmChange(msgspec.Struct, frozen=True):
    """`device_pk` is the device's UUID. `alarm` is the alarm after the change, as the API returns it."""

    event: Happening
    device_pk: UUID
    device_id: str
    device_name: str
    alarm: dict[str, object]


def change_of(event: Happening, alarm: Alarm) -> AlarmChange:
    """The change of an alarm whose rule and device are loaded."""
    device = alarm.device
    return AlarmChange(event, device.pk, device.device_id, device.name, alarm_document(alarm))


def announce(changes: list[AlarmChange]) -> None:
    """Sends the signal for these changes, if any. To be called after their commit."""
    if changes:
        alarms_changed.send_robust(sender=Alarm, changes=changes)

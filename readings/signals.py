"""The signal for new readings. `readings` does not depend on its receivers."""

from django.dispatch import Signal

from readings.log.entries import Appended

__all__ = ["Appended", "readings_recorded"]

# Sent after the commit with `send_robust`: an error in a receiver is logged and does not make the write fail.
# Keyword arguments: `appended`, a list of `Appended`, one for each device with new readings; `waits` (True if it is
# left out), whether somebody waits until the receivers are done.
readings_recorded = Signal()

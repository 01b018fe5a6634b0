"""The one signal. Whoever wants to know of new readings connects here; nothing in `readings` knows who does."""

from django.dispatch import Signal

from readings.log.entries import Appended

__all__ = ["Appended", "readings_recorded"]

# Sent after the commit, robustly: a failing receiver is logged and fails no write.
# Keyword argument `appended`: a list of `Appended`, one for each device that got new readings.
readings_recorded = Signal()

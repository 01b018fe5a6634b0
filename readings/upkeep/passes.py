"""Passes over all devices in the order of their ids. Each starts where the previous one ended, so that no device is
always the last.
"""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

from devices.models import DeviceState


class IdRange(NamedTuple):
    """Device ids with `after < id`, and `id <= until` unless that is None."""

    after: str
    until: str | None


EVERY_ID = IdRange("", None)


class Rotation:
    """The start position of passes. `position` is the last visited device; the code that visits devices must set it.

    So the next pass continues a pass that ended early. The first pass of a process starts at a random device, because
    processes that always end early would otherwise never reach the last devices.
    """

    def __init__(self) -> None:
        self.position: str | None = None

    def ranges(self) -> Iterator[IdRange]:
        """One pass over every device, as two ranges of ids."""
        start = random_device() if self.position is None else self.position
        for part in (IdRange(start, None), IdRange("", start)):
            self.position = part.after
            yield part


def random_device() -> str:
    """The id of a random registered device; "" if there is none."""
    states = DeviceState.objects.order_by("device_id")
    count = states.count()
    if count == 0:
        return ""
    chosen = next(iter(states[random.randrange(count) :][:1]), None)  # noqa: S311  not a secret
    return chosen.device_id if chosen else ""


class Pace:
    """Limits work that is repeated: at most a `share` of the time, and at most once in so many `seconds`."""

    def __init__(self, share: float, *, seconds: float = 0.0) -> None:
        self.share, self.seconds = share, seconds
        self.next_at = -math.inf

    def is_due(self, moment: float) -> bool:
        """`moment`: time.monotonic."""
        return moment >= self.next_at

    def took(self, began: float, ended: float) -> None:
        """Notes when the work was done."""
        self.next_at = max(began + self.seconds, began + (ended - began) / self.share)

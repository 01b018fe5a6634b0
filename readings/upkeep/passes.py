"""Passes over all devices, in the order of their ids, each from where the one before ended: none is always last."""

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
    """Where passes begin. `position` is the last device that was visited; whoever visits devices moves it.

    A pass that was ended early is so continued by the next. The first pass of a process begins anywhere, because a
    process that is ended early each time would otherwise never come to the last devices.
    """

    def __init__(self) -> None:
        self.position: str | None = None

    def ranges(self) -> Iterator[IdRange]:
        """One pass: every device once, as two ranges."""
        start = random_device() if self.position is None else self.position
        for part in (IdRange(start, None), IdRange("", start)):
            self.position = part.after
            yield part


def random_device() -> str:
    """The id of any device that is registered, or "" where none is."""
    states = DeviceState.objects.order_by("device_id")
    count = states.count()
    if count == 0:
        return ""
    chosen = next(iter(states[random.randrange(count) :][:1]), None)  # noqa: S311  no secret
    return chosen.device_id if chosen else ""

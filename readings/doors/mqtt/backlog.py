"""The memory that messages of all connections may take until they are stored."""

from collections.abc import Callable
from weakref import WeakSet

from readings.doors.mqtt import instruments

# Bytes of payloads that may wait. Decoded readings take up to ten times as much.
WAITING_BYTES_MAX = 8 * 1024 * 1024
# A connection without a waiting message may always have one of this size, so that no connection waits for ever.
SMALL_BYTES = 8 * 1024
# What a message costs beside its payload.
MESSAGE_BYTES = 512

# All backlogs of this process, one per event loop.
backlogs: "WeakSet[Backlog]" = WeakSet()


class Backlog:
    """Counts waiting bytes; when there is room again, calls those who wait for it, in order."""

    def __init__(self, limit: int = WAITING_BYTES_MAX) -> None:
        self.limit = limit
        self.used = 0
        self.waiting: dict[Callable[[], None], None] = {}  # an ordered set
        backlogs.add(self)

    def take(self, size: int, *, first: bool) -> bool:
        """Takes room for `size` bytes if there is some. `first`: the connection has no waiting message."""
        if self.used + size > self.limit and not (first and size <= SMALL_BYTES):
            return False
        self.used += size
        return True

    def add(self, size: int) -> None:
        """Takes room without asking: for a message that has been received already."""
        self.used += size

    def await_room(self, continue_reading: Callable[[], None]) -> None:
        """Calls `continue_reading` once, as soon as bytes are given back."""
        self.waiting[continue_reading] = None

    def forget(self, continue_reading: Callable[[], None]) -> None:
        self.waiting.pop(continue_reading, None)

    def give_back(self, size: int) -> None:
        if not size:
            return
        self.used -= size
        if self.waiting and self.used <= self.limit // 2:
            waiting, self.waiting = self.waiting, {}
            for continue_reading in waiting:
                continue_reading()


def waiting_bytes() -> int:
    return sum(backlog.used for backlog in list(backlogs))


# Asked when the metrics are read, because setting it would be a lock with each message.
instruments.WAITING_BYTES.set_function(waiting_bytes)

"""One socket's part of the stream: which logs it is behind on, and what it is to be sent."""

import asyncio
from typing import TYPE_CHECKING

from realtime.credentials import Credential
from realtime.outgoing import Outgoing
from realtime.stretches import Stretch

if TYPE_CHECKING:
    from realtime.logs import Log

# Characters of live frames that wait for the end of a replay, a log; beyond that they are read from the database.
HELD_MAX = 64 * 1024


class Lag:
    """A log that a socket is behind on: it has everything up to `position`, and what is new is held back."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.held: list[tuple[Stretch, str]] = []
        self.size = 0

    def hold(self, stretch: Stretch, frame: str) -> None:
        if self.size + len(frame) > HELD_MAX:
            self.held, self.size = [], 0
        self.held.append((stretch, frame))
        self.size += len(frame)


class Subscription:
    """Either up to date with a log, so that it gets each live frame of it, or behind on it by a `Lag`.

    `checked_at`: the `AccessVersion` at which its credential was last found to count.
    """

    def __init__(self, outgoing: Outgoing, credential: Credential, checked_at: int) -> None:
        self.outgoing = outgoing
        self.credential = credential
        self.checked_at = checked_at
        self.log: Log | None = None  # None watches the fleet, or nothing yet
        self.behind: dict[str, Lag] = {}
        self.replaying: asyncio.Task[None] | None = None

    def live(self, stretch: Stretch, frame: str) -> None:
        """A frame that follows on what the process has sent of this log before."""
        lag = self.behind.get(stretch.device_id)
        if lag is None:
            self.outgoing.put(frame)
        else:
            lag.hold(stretch, frame)

    def replay(self, stretch: Stretch, frame: str) -> None:
        """A frame from the database; one that does not follow on what was sent is left for another read."""
        lag = self.behind.get(stretch.device_id)
        if lag is not None and stretch.first_seq == lag.position + 1:
            self.outgoing.put(frame)
            lag.position = stretch.last_seq

    def catch_up(self, device_id: str, position: int) -> None:
        """Goes live with a log at `position`, all of it flushed, if what was held back closes the gap to it."""
        lag = self.behind[device_id]
        for stretch, frame in lag.held:
            self.replay(stretch, frame)
        lag.held, lag.size = [], 0
        if lag.position == position:
            del self.behind[device_id]

"""One socket's part of the stream: which logs it is behind on, and what it is to be sent."""

import asyncio
from typing import TYPE_CHECKING

from realtime.access.credentials import Credential
from realtime.protocol.seq_ranges import SeqRange
from realtime.stream.outbox import Outbox

if TYPE_CHECKING:
    from realtime.stream.watched_log import Log

# Characters of live frames that wait for the end of a replay, a log; beyond that they are read from the database.
HELD_MAX = 64 * 1024


class Lag:
    """A log that a socket is behind on: it has everything up to `position`, and what is new is held back."""

    def __init__(self, position: int) -> None:
        self.position = position
        self.held: list[tuple[SeqRange, str]] = []
        self.size = 0

    def hold(self, seq_range: SeqRange, frame: str) -> None:
        if self.size + len(frame) > HELD_MAX:
            self.held, self.size = [], 0
        self.held.append((seq_range, frame))
        self.size += len(frame)


class Subscription:
    """Either up to date with a log, so that it gets each live frame of it, or behind on it by a `Lag`.

    `checked_at`: the `AccessVersion` at which its credential was last found to count.
    """

    def __init__(self, outgoing: Outbox, credential: Credential, checked_at: int) -> None:
        self.outgoing = outgoing
        self.credential = credential
        self.checked_at = checked_at
        self.log: Log | None = None  # None watches the fleet, or nothing yet
        self.behind: dict[str, Lag] = {}
        self.replaying: asyncio.Task[None] | None = None

    def live(self, seq_range: SeqRange, frame: str) -> None:
        """A frame that follows on what the process has sent of this log before."""
        lag = self.behind.get(seq_range.device_id)
        if lag is None:
            self.outgoing.put(frame)
        else:
            lag.hold(seq_range, frame)

    def replay(self, seq_range: SeqRange, frame: str) -> None:
        """A frame from the database; one that does not follow on what was sent is left for another read."""
        lag = self.behind.get(seq_range.device_id)
        if lag is not None and seq_range.first_seq == lag.position + 1:
            self.outgoing.put(frame)
            lag.position = seq_range.last_seq

    def catch_up(self, device_id: str, position: int) -> None:
        """Goes live with a log at `position`, all of it flushed, if what was held back closes the gap to it."""
        lag = self.behind[device_id]
        for seq_range, frame in lag.held:
            self.replay(seq_range, frame)
        lag.held, lag.size = [], 0
        if lag.position == position:
            del self.behind[device_id]

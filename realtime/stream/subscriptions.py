"""The subscription of one socket: the logs it is behind on, and the frames it has to get."""

import asyncio
from typing import TYPE_CHECKING

from realtime.access.credentials import Credential, Rights
from realtime.protocol.seq_ranges import SeqRange
from realtime.stream.outbox import Outbox

if TYPE_CHECKING:
    from realtime.stream.watched_log import Log

# Characters of live frames that wait for the end of a replay, for each log; beyond that they are dropped and read
# from the database.
HELD_MAX = 64 * 1024


class Lag:
    """A log that a socket is behind on: everything up to `position` was sent, and newer live frames are held back."""

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
    """For each log the socket is either live and gets each new frame, or behind, with a `Lag`.

    `checked_at` is the `AccessVersion` at which its credential was last found valid. `sees_alarms`: the credential may
    see alarms. `only_alarms`: the socket gets no readings. `scope`: the ids of the devices that it may see; None: every
    device.
    """

    def __init__(
        self,
        outgoing: Outbox,
        credential: Credential,
        checked_at: int,
        *,
        sees_alarms: bool = False,
        only_alarms: bool = False,
        scope: frozenset[str] | None = None,
    ) -> None:
        self.outgoing = outgoing
        self.credential = credential
        self.checked_at = checked_at
        self.sees_alarms = sees_alarms
        self.only_alarms = only_alarms
        self.scope = scope
        self.device_id: str | None = None  # None: it watches the fleet
        self.log: Log | None = None  # None: it watches the fleet, or nothing yet
        self.behind: dict[str, Lag] = {}
        self.replaying: asyncio.Task[None] | None = None

    def may_watch(self, rights: Rights) -> bool:
        """Whether the socket may stay open with these rights. Notes whether it may still see alarms."""
        self.sees_alarms = self.sees_alarms and rights.alarms
        if self.device_id is not None and rights.devices is not None and self.device_id not in rights.devices:
            return False
        return rights.alarms if self.only_alarms else rights.readings

    def sees(self, device_id: str) -> bool:
        return self.scope is None or device_id in self.scope

    def has_other_scope(self, rights: Rights) -> bool:
        """Whether a socket of the whole fleet sees other devices than when it was opened."""
        return self.device_id is None and rights.devices != self.scope

    def live(self, seq_range: SeqRange, frame: str) -> None:
        """Takes a live frame, which continues what the process has sent of this log before."""
        if not self.sees(seq_range.device_id):
            return
        lag = self.behind.get(seq_range.device_id)
        if lag is None:
            self.outgoing.put(frame)
        else:
            lag.hold(seq_range, frame)

    def replay(self, seq_range: SeqRange, frame: str) -> None:
        """Sends a frame from the database if it continues what was sent; otherwise a later read brings it again."""
        lag = self.behind.get(seq_range.device_id)
        if lag is not None and seq_range.first_seq == lag.position + 1:
            self.outgoing.put(frame)
            lag.position = seq_range.last_seq

    def catch_up(self, device_id: str, position: int) -> None:
        """Goes live with a log that is flushed up to `position`, if the frames held back reach up to there."""
        lag = self.behind[device_id]
        for seq_range, frame in lag.held:
            self.replay(seq_range, frame)
        lag.held, lag.size = [], 0
        if lag.position == position:
            del self.behind[device_id]

"""What clients say: a ping, or, of the whole fleet, where they were. Everything else gets an error frame."""

from dataclasses import dataclass, field
from typing import Annotated, Literal
from uuid import UUID

import msgspec

# Characters; a longer message ends the socket. 250 positions, with the longest names there are and their
# logs, take 48,000.
MESSAGE_MAX = 64 * 1024
TOO_BIG = 1009

Seq = Annotated[int, msgspec.Meta(ge=0, lt=10**18)]


class Ping(msgspec.Struct, tag="ping"):
    """Answered by a pong."""


class Resume(msgspec.Struct, tag="resume"):
    """Where the client was, of at most POSITIONS_PER_FRAME logs; `more` such messages follow.

    `logs`: the ids of the logs of which these are positions, as far as it knows them. `others`: whether logs of which
    it names no position are sent whole ("all", as of devices that are new to it), or from now on.
    """

    positions: dict[str, Seq] = {}  # msgspec copies it
    logs: dict[str, UUID] = {}
    more: bool = False
    others: Literal["all", "now"] = "all"


decoder = msgspec.json.Decoder(Ping | Resume)


class Unreadable(Exception):
    """The message is none that this socket takes."""


def decode(text: str | None) -> Ping | Resume:
    """Raises Unreadable."""
    try:
        message: Ping | Resume = decoder.decode(text or "")
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Unreadable from error
    return message


@dataclass
class Resuming:
    """The positions of a client's messages put together."""

    positions: dict[str, int] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    others_now: bool = False
    done: bool = False

    def add(self, message: Resume) -> None:
        self.positions |= message.positions
        self.logs |= {name: str(log_id) for name, log_id in message.logs.items() if name in message.positions}
        self.others_now = message.others == "now"
        self.done = not message.more

    def start(self, device_id: str, log_id: str, *, end: int) -> int:
        """The position behind which this device's log, which ends at `end`, is to be sent."""
        if self.logs.get(device_id, log_id) != log_id:
            return 0
        return self.positions.get(device_id, end if self.others_now else 0)

"""What clients say: a ping, or, of the whole fleet, where they were. Everything else gets an error frame."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

# Characters; a longer message ends the socket. 500 positions with the longest names there are take 50,000.
MESSAGE_MAX = 64 * 1024
TOO_BIG = 1009

Seq = Annotated[int, msgspec.Meta(ge=0, lt=10**18)]


class Ping(msgspec.Struct, tag="ping"):
    """Answered by a pong."""


class Resume(msgspec.Struct, tag="resume"):
    """Where the client was, of at most POSITIONS_PER_FRAME logs; `more` such messages follow.

    `others`: whether logs it does not name are sent whole ("all", as of devices that are new to it), or from now on.
    """

    positions: dict[str, Seq] = {}  # msgspec copies it
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
    others_now: bool = False
    done: bool = False

    def add(self, message: Resume) -> None:
        self.positions |= message.positions
        self.others_now = message.others == "now"
        self.done = not message.more

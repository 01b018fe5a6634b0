"""The messages that clients send: `ping`, and `resume` on the fleet's socket. Others are answered by an error frame."""

from dataclasses import dataclass, field
from typing import Annotated, Literal
from uuid import UUID

import msgspec

# Characters; a longer message closes the socket. 250 positions with log ids and the longest device ids take 48,000.
MESSAGE_MAX = 64 * 1024
TOO_BIG = 1009

Seq = Annotated[int, msgspec.Meta(ge=0, lt=10**18)]


class Ping(msgspec.Struct, tag="ping"):
    """The server answers with a pong."""


class Resume(msgspec.Struct, tag="resume"):
    """The client's positions in at most POSITIONS_PER_FRAME logs, by device id; `more`: more such messages follow.

    `logs` are the ids of the logs to which the positions refer, as far as the client knows them. `others` says how logs
    without a position are sent: "all" from their beginning, as for devices new to the client, or "now" from now on.
    """

    positions: dict[str, Seq] = {}  # msgspec copies the default for each instance
    logs: dict[str, UUID] = {}
    more: bool = False
    others: Literal["all", "now"] = "all"


decoder = msgspec.json.Decoder(Ping | Resume)


class Unreadable(Exception):
    """The message is not valid JSON or has no known type and form."""


def decode(text: str | None) -> Ping | Resume:
    """Decodes one message. Raises Unreadable."""
    try:
        message: Ping | Resume = decoder.decode(text or "")
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Unreadable from error
    return message


@dataclass
class Resuming:
    """The positions of all `resume` messages of one client; `done` after the last message."""

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
        """The position after which to send this device's log, which now has the id `log_id` and the length `end`.

        0 if the client's position refers to another log.
        """
        if self.logs.get(device_id, log_id) != log_id:
            return 0
        return self.positions.get(device_id, end if self.others_now else 0)

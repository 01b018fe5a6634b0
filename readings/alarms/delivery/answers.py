"""What a try to send a message resulted in."""

import msgspec

# Seconds that one try may take in total: resolving the name, connecting, sending, and reading the answer.
TRY_SECONDS = 20.0
# Seconds to connect, and without a byte of the answer.
CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
# Bytes of an answer that are read.
ANSWER_BYTES = 4_096


class Answer(msgspec.Struct, frozen=True):
    """`detail` is for people and has no secrets. `body`: the beginning of the receiver's answer, which is not stored.

    `away`: the receiver gave no answer at all.
    """

    delivered: bool
    detail: str
    body: str = ""
    away: bool = False


def plain(text: str, length: int) -> str:
    """The text on one line, without control characters, at most `length` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:length]

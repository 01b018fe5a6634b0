"""How the server closes a socket: an error frame first, then a close code that tells the client what to do."""

from dataclasses import dataclass

# 1013 is the WebSocket registry's "try again later".
TRY_AGAIN_LATER = 1013


@dataclass(frozen=True)
class Ending:
    """How the server closes a socket: an error frame, then this code."""

    close_code: int
    code: str
    detail: str


TOO_SLOW = Ending(TRY_AGAIN_LATER, "too_slow", "You read more slowly than is sent. Go on from your last seq.")
UNAVAILABLE = Ending(TRY_AGAIN_LATER, "unavailable", "Nothing can be followed just now; try again.")

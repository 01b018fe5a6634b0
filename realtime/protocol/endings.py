"""How the server closes a socket: an error frame, then a close code that tells the client what to do."""

from dataclasses import dataclass

from readings.log.damage import LogDamaged

# "Try again later" in IANA's registry of WebSocket close codes.
TRY_AGAIN_LATER = 1013
# "Internal error" (RFC 6455).
INTERNAL_ERROR = 1011


@dataclass(frozen=True)
class Ending:
    """An error frame with `code` and `detail`, then a close with `close_code` and `code` as its reason."""

    close_code: int
    code: str
    detail: str


TOO_SLOW = Ending(TRY_AGAIN_LATER, "too_slow", "The client reads too slowly. Connect again with the last seq.")
UNAVAILABLE = Ending(TRY_AGAIN_LATER, "unavailable", "The live stream is not available at the moment. Try again later.")


def damaged(error: LogDamaged) -> Ending:
    return Ending(INTERNAL_ERROR, error.default_code, str(error.detail))

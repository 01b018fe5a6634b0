"""A channel layer that is away costs no commit time and the log two lines: one when it goes, one when it is back."""

import logging
import time
from typing import Any
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

# Between two tries of a layer that is away.
RETRY_SECONDS = 2.0


class Breaker:
    """Of one channel layer: whether to try it. Closed while it works."""

    def __init__(self) -> None:
        self.retry_at: float | None = None

    def lets_through(self) -> bool:
        """Whether to try now. Of a layer that is away: one caller every RETRY_SECONDS."""
        if self.retry_at is None:
            return True
        now = time.monotonic()
        if now < self.retry_at:
            return False
        self.retry_at = now + RETRY_SECONDS
        return True

    def failed(self, error: Exception) -> None:
        if self.retry_at is None:
            logger.warning(
                "New readings are stored but not announced: the channel layer (REDIS_URL) is away (%r). "
                "Live sockets read them from the database meanwhile",
                error,
            )
        self.retry_at = time.monotonic() + RETRY_SECONDS

    def succeeded(self) -> None:
        if self.retry_at is not None:
            logger.warning("The channel layer is back: new readings are announced again")
            self.retry_at = None


breakers: WeakKeyDictionary[Any, Breaker] = WeakKeyDictionary()


def breaker_of(layer: Any) -> Breaker:
    return breakers.setdefault(layer, Breaker())

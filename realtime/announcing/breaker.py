"""A circuit breaker for the channel layer.

While the layer does not answer, announcements are skipped, so that commits are not delayed. The log gets one line when
the layer fails and one when it works again.
"""

import logging
import time
from typing import Any
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

# Seconds between two attempts on a layer that does not answer.
RETRY_SECONDS = 2.0


class Breaker:
    """The state of one channel layer: closed (`retry_at` is None) while it works, open after a failure."""

    def __init__(self) -> None:
        self.retry_at: float | None = None

    def lets_through(self) -> bool:
        """Whether to try the layer now. While it fails, one caller every RETRY_SECONDS gets True."""
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
                "New readings and alarms are stored but not announced: the channel layer (REDIS_URL) does not answer "
                "(%r). Until it does, live sockets get them from the database",
                error,
            )
        self.retry_at = time.monotonic() + RETRY_SECONDS

    def succeeded(self) -> None:
        if self.retry_at is not None:
            logger.warning("The channel layer answers again: new readings and alarms are announced")
            self.retry_at = None


breakers: WeakKeyDictionary[Any, Breaker] = WeakKeyDictionary()


def breaker_of(layer: Any) -> Breaker:
    return breakers.setdefault(layer, Breaker())

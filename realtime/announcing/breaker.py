"""A circuit breaker for each server of the channel layer.

While a server does not answer, announcements to its groups are skipped, so that commits are not delayed. The log gets
one line when the server fails and one when it works again.
"""

import logging
import time
from typing import Any
from weakref import WeakKeyDictionary

logger = logging.getLogger(__name__)

# Seconds between two attempts on a server that does not answer.
RETRY_SECONDS = 2.0


class Breaker:
    """The state of one server: closed (`retry_at` is None) while it works, open after a failure.

    `server`: its place in REDIS_URL, from 0 on.
    """

    def __init__(self, server: int = 0) -> None:
        self.server = server
        self.retry_at: float | None = None

    def lets_through(self) -> bool:
        """Whether to try the server now. While it fails, one caller every RETRY_SECONDS gets True."""
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
                "New readings and alarms are stored but not announced: the channel layer (server %s of REDIS_URL) does "
                "not answer (%r). Until it does, live sockets get them from the database",
                self.server + 1,
                error,
            )
        self.retry_at = time.monotonic() + RETRY_SECONDS

    def succeeded(self) -> None:
        if self.retry_at is not None:
            logger.warning(
                "The channel layer answers again: new readings and alarms are announced (server %s of REDIS_URL)",
                self.server + 1,
            )
            self.retry_at = None


breakers: WeakKeyDictionary[Any, dict[int, Breaker]] = WeakKeyDictionary()


def breaker_of(layer: Any, server: int = 0) -> Breaker:
    of_layer = breakers.setdefault(layer, {})
    return of_layer.get(server) or of_layer.setdefault(server, Breaker(server))

"""Ends the database statements of a request whose client has left.

`telemetry.gateway.request_limits` sets `current_cancellation` for each request that only reads. The database backends
register every statement with it, and so can interrupt a statement from another thread.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import OperationalError

logger = logging.getLogger(__name__)

# An interrupt that arrives just before the statement starts has no effect, so it is repeated.
ATTEMPTS = 10
RETRY_SECONDS = 0.2

current_cancellation: ContextVar["Cancellation | None"] = ContextVar("current_cancellation", default=None)


class ClientGone(OperationalError):
    """The client has left, so the statement was interrupted or not started."""


class Cancellation:
    """The running statements of one request. After `interrupt`, further statements raise ClientGone."""

    def __init__(self) -> None:
        self.requested = False
        # Functions that interrupt a running statement, by statement.
        self.running: dict[object, Callable[[], None]] = {}
        self.changed = threading.Condition()

    @contextmanager
    def statement(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Runs a statement in its block; `interrupt` may be called from another thread, but not after the block ends.

        Raises ClientGone.
        """
        number = object()
        with self.changed:
            if self.requested:
                raise ClientGone("The client has left: the statement was not started.")
            self.running[number] = interrupt
        try:
            yield
        except Exception as error:
            if self.requested:
                raise ClientGone("The client has left: the statement was interrupted.") from error
            raise
        finally:
            # Wait for a running interrupt, which must not hit the next user of the connection.
            with self.changed:
                del self.running[number]
                self.changed.notify_all()

    def interrupt(self) -> None:
        """Interrupts the running statements; returns when they have ended, or after ATTEMPTS tries (about 2 s).

        It blocks, so it must not be called in an event loop.
        """
        self.requested = True
        with self.changed:
            for _ in range(ATTEMPTS):
                if not self.running:
                    return
                for interrupt in self.running.values():
                    try:
                        interrupt()
                    except Exception:
                        logger.exception("A statement could not be interrupted")
                self.changed.wait(RETRY_SECONDS)


@contextmanager
def uncancelled() -> Iterator[None]:
    """Lets statements in this block, such as ROLLBACK, run although the client has left."""
    before = current_cancellation.set(None)
    try:
        yield
    finally:
        current_cancellation.reset(before)

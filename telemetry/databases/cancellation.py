"""Ends the database statements of a request whose client has left.

`telemetry.gateway.questions` sets `current_cancellation` for each request that only reads. The database backends
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
    """The running statements of one request. Once it is requested, further statements raise ClientGone."""

    def __init__(self) -> None:
        self.requested = False
        # Functions that interrupt a running statement, by statement.
        self.running: dict[object, Callable[[], None]] = {}
        self.changed = threading.Condition()

    @contextmanager
    def statement(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Surrounds a statement; `interrupt` is called from another thread, never after the statement has ended.

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
            # Waits for an interrupt under way: it must not meet the next user of the connection.
            with self.changed:
                del self.running[number]
                self.changed.notify_all()

    def interrupt(self) -> None:
        """Interrupts what runs, and returns when it has ended, or after ATTEMPTS. Blocks: not for an event loop."""
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
    """Statements in this block run although the client has left, such as ROLLBACK."""
    before = current_cancellation.set(None)
    try:
        yield
    finally:
        current_cancellation.reset(before)

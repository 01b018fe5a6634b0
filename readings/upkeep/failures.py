"""Failures that may repeat for hours: whether one device is concerned or the whole database, and how often to log."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

T = TypeVar("T")

# The same failure is written with its traceback once in this time.
REPEAT_SECONDS = 3600.0
# Different failures that are remembered as written.
REMEMBERED = 1000

# PostgreSQL's classes of SQLSTATE that no single row causes: connection, resources, shutdown, system error, read-only.
DATABASE_WIDE_CLASSES = ("08", "53", "57P", "58", "25")
# SQLite's primary result codes: BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN.
DATABASE_WIDE_CODES = frozenset((5, 6, 7, 8, 10, 13, 14))


class TooManyFailures(Exception):
    """So many items of a pass failed that the cause is none of them."""


class FailureLog:
    """Writes a failure with its traceback when it is new, and again REPEAT_SECONDS later if it is still there."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.written: dict[tuple[str, str], float] = {}

    def write(self, what: str, error: BaseException) -> None:
        """`what` says what failed and what follows; with the kind of the error it tells one failure from another."""
        now = time.monotonic()
        failure = (what, type(error).__qualname__)
        before = self.written.get(failure)
        if before is not None and now - before < REPEAT_SECONDS:
            self.logger.debug("%s: %r", what, error)
            return
        if len(self.written) >= REMEMBERED:
            self.written.clear()
        self.written[failure] = now
        self.logger.error("%s (the same failure is logged once an hour)", what, exc_info=error)

    def forget(self, what: str) -> bool:
        """Has the next failure of this be written at once; whether one was written before."""
        known = [failure for failure in self.written if failure[0] == what]
        for failure in known:
            del self.written[failure]
        return bool(known)


def each_apart(
    items: Sequence[T], work: Callable[[Sequence[T]], None], failed: Callable[[T, Exception], None]
) -> list[T]:
    """Does `work` on all items at once; where that fails, on each half, so that only the items that fail are left out.

    Calls `failed` with each of those, and returns the others. `work` is one transaction. An item that fails costs the
    others about twice log2(items) transactions more. Raises what concerns the whole database, as it came, and whatever
    `failed` raises.
    """
    try:
        work(items)
    except Exception as error:
        if concerns_whole_database(error):
            raise
        if len(items) == 1:
            failed(items[0], error)
            return []
        middle = len(items) // 2
        return [*each_apart(items[:middle], work, failed), *each_apart(items[middle:], work, failed)]
    return list(items)


def concerns_whole_database(error: Exception) -> bool:
    """Whether an attempt with other rows would fail too: the database is away, full, read-only or locked."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    cause = error.__cause__
    if connection.vendor == "postgresql":
        state = getattr(cause, "sqlstate", None)
        # Without a state psycopg itself has noticed that the connection was lost, or could not be made.
        return cause is not None and (state is None or state.startswith(DATABASE_WIDE_CLASSES))
    code = getattr(cause, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in DATABASE_WIDE_CODES

"""Handles repeated failures of maintenance: isolates failing devices, and limits how often a failure is logged."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

T = TypeVar("T")

# Minimum time between two log entries with traceback of the same failure.
REPEAT_SECONDS = 3600.0
# Maximum number of different failures that are remembered as logged.
REMEMBERED = 1000

# SQLSTATE classes of PostgreSQL not caused by a row: connection, resources, shutdown, system error, read-only.
DATABASE_WIDE_CLASSES = ("08", "53", "57P", "58", "25")
# SQLite's primary result codes: BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN.
DATABASE_WIDE_CODES = frozenset((5, 6, 7, 8, 10, 13, 14))


class Outrun(Exception):
    """Another process did the same work at the same time; nothing was changed."""


class TooManyFailures(Exception):
    """Too many devices failed in a part of a round, so that the cause is probably not a single device."""


class FailureLog:
    """Logs a failure with its traceback if it is new, and again if it still occurs after REPEAT_SECONDS."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.written: dict[tuple[str, str], float] = {}

    def write(self, what: str, error: BaseException) -> None:
        """`what` describes the failure. Failures with equal `what` and equal type of error count as the same."""
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
        """Forgets the failures with this `what`, so that the next one is logged; returns whether there were any."""
        known = [failure for failure in self.written if failure[0] == what]
        for failure in known:
            del self.written[failure]
        return bool(known)


def each_apart(
    items: Sequence[T], work: Callable[[Sequence[T]], None], failed: Callable[[T, Exception], None]
) -> list[T]:
    """Calls `work` with all items; if that fails, with each half, so that only failing items are left out.

    Calls `failed` with each failing item, and returns the others. `work` must be one transaction. A failing item costs
    about 2·log2(number of items) additional transactions. Raises errors that concern the whole database, and any error
    of `failed`.
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
    """Whether work on other rows would fail too, because the database is unreachable, full, read-only or locked."""
    if isinstance(error, InterfaceError):
        return True
    if not isinstance(error, DatabaseError):
        return False
    cause = error.__cause__
    if connection.vendor == "postgresql":
        state = getattr(cause, "sqlstate", None)
        # An error without SQLSTATE comes from psycopg itself: the connection was lost or could not be opened.
        return cause is not None and (state is None or state.startswith(DATABASE_WIDE_CLASSES))
    code = getattr(cause, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in DATABASE_WIDE_CODES

"""Connections to PostgreSQL that notice when the server does not answer."""

import contextlib
import logging
import os
import socket
import time
from typing import Any, ClassVar, Self

import psycopg

from devices.database import instruments, nodes
from devices.database.errors import words_of
from devices.database.work_kinds import CONNECT_SECONDS, Work
from telemetry.databases.cancellation import current_cancellation, uncancelled

logger = logging.getLogger(__name__)

# Seconds between two checks, at the server, of a connection that waits for an answer.
LOOK_SECONDS = 4.0
# Seconds within which the server must accept the request to cancel a statement.
CANCEL_SECONDS = 1.0

# False for a session that has answered, or that waits for input from its client: then our wait is in vain.
AT_WORK = """
SELECT state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
FROM pg_stat_activity WHERE pid = %s AND backend_start = %s
"""
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"


class PreparedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements stay prepared in the session, if the connection allows it (`Pool.prepare`)."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        return super().execute(query, params, prepare=True, **options)


class Connection(psycopg.Connection[Any]):
    """A connection that closes itself if the database does not answer in time.

    A connection can hang although the server works: after a failover, or behind a firewall that lost its state, no
    packet arrives and no error either. So during a long wait the server is asked, over another connection, whether it
    still works on the statement.
    """

    work = Work.QUESTION
    # Seconds that a statement may take.
    seconds = float(CONNECT_SECONDS)
    # Time (`time.monotonic`) and message of the last attempt to connect, if it failed; else None.
    refusal: ClassVar[tuple[float, str] | None] = None
    # The session's process id and start time, to ask the server about it; None if a pooler hides them.
    session: tuple[int, Any] | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> "Connection":
        """psycopg's `connect`, which also remembers its error: the pool connects in its own threads and hides it."""
        try:
            connection = super().connect(conninfo, **parameters)
        except psycopg.OperationalError as error:
            cls.refusal = (time.monotonic(), str(error))
            raise
        cls.refusal = None
        return connection

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """psycopg's `wait`, which every statement, COPY, COMMIT and fetch goes through, with a deadline.

        Raises ClientGone if the client of the request has left.
        """
        cancellation = current_cancellation.get()
        if cancellation is None:
            return self.wait_for_answer(gen, interval, timeout)
        with cancellation.statement(self.interrupt):
            return self.wait_for_answer(gen, interval, timeout)

    def wait_for_answer(self, gen: Any, interval: float, timeout: float | None) -> Any:
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        deadline = time.monotonic() + self.seconds
        while True:
            left = deadline - time.monotonic()
            asked_for = min(left, LOOK_SECONDS) if self.session else left
            began = time.monotonic()
            try:
                return super().wait(gen, interval, max(asked_for, 0.001))
            except psycopg.OperationalError as error:
                if self.closed or error.sqlstate or time.monotonic() - began < asked_for:
                    raise  # an error from the server, not our deadline
                if asked_for < left and self.is_worked_at():
                    nodes.watch.suspect()  # the coordinator of a distributed database may wait for another node
                    continue
                self.close()
                instruments.CONNECTIONS_REPLACED.labels(self.work.value).inc()
                logger.error("PostgreSQL does not answer (%s): the connection is closed and replaced", self.work.value)
                raise psycopg.OperationalError("PostgreSQL does not answer: the connection was closed") from error

    def is_worked_at(self) -> bool:
        """Whether the server still works on the statement; False if it cannot be reached.

        An idle session is ended, because it would keep its locks, and in the middle of a COPY no timeout of the server
        ends it.
        """
        try:
            with psycopg.connect(
                self.info.dsn, password=self.info.password, connect_timeout=CONNECT_SECONDS, autocommit=True
            ) as other:
                row = other.execute(AT_WORK, self.session).fetchone()
                if row and row[0]:
                    return True
                other.execute(TERMINATE, self.session)
        except psycopg.Error as error:
            logger.warning("The state of a connection that does not answer is unknown: %s", words_of(error))
        return False

    def prepared_cursor(self) -> "PreparedCursor":
        return PreparedCursor(self)

    # These prepare the connection for the next request, so they run even if this request's client has left.

    def rollback(self) -> None:
        with uncancelled():
            super().rollback()

    def set_autocommit(self, value: bool) -> None:
        with uncancelled():
            super().set_autocommit(value)

    def interrupt(self) -> None:
        """Called from another thread: cancels the running statement; the connection stays usable if the server answers.

        If the server does not accept the cancellation within CANCEL_SECONDS, the connection is cut.
        """
        try:
            self.cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            self.cut()

    def cut(self) -> None:
        """Called from another thread: closes the connection, so that a thread that waits on it gets an error."""
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as half:
            half.shutdown(socket.SHUT_RDWR)

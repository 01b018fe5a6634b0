"""PostgreSQL with a pool for each kind of work, and connections that notice when the server does not answer."""

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar, Self
from weakref import WeakSet, finalize

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base, operations
from psycopg_pool import ConnectionPool, PoolTimeout

from devices.database import instruments
from devices.database.errors import words_of
from devices.database.work_kinds import (
    CONNECT_SECONDS,
    IDLE_IN_TRANSACTION_SECONDS,
    POOL_SIZES,
    STATEMENT_SECONDS,
    Work,
    current_work,
)
from telemetry.databases.cancellation import current_cancellation, uncancelled

logger = logging.getLogger(__name__)

# Seconds within which the server must report that it ended a statement at its `statement_timeout`.
GRACE_SECONDS = 1.0
# Seconds within which a connection from the pool must answer the check before it is used.
CHECK_SECONDS = 1.0
# Seconds between two checks, at the server, of a connection that waits for an answer.
LOOK_SECONDS = 4.0
# After how many executions psycopg prepares a statement by itself: never, only where the code asks for it.
PREPARE_THRESHOLD = sys.maxsize
# Seconds within which the server must accept the request to cancel a statement.
CANCEL_SECONDS = 1.0

# False for a session that has answered, or that waits for input from its client: then our wait is in vain.
AT_WORK = """
SELECT state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
FROM pg_stat_activity WHERE pid = %s AND backend_start = %s
"""
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
INTRODUCTION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# PostgreSQL 14 and newer can check whether the client is still there, and end the statement if not.
LOOK_FOR_CLIENT = "SET client_connection_check_interval = '5s'"

# The open connections of this process, which are cut when the process ends.
open_connections: "WeakSet[Connection]" = WeakSet()
connections_lock = threading.Lock()


class PreparedCursor(psycopg.Cursor[Any]):
    """A cursor whose statements stay prepared in the session, if the connection allows it (`Pool.prepare`)."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        return super().execute(query, params, prepare=True, **options)


class DatabaseOperations(operations.DatabaseOperations):
    def last_executed_query(self, cursor: Any, sql: Any, params: Any) -> Any:
        """The statement with its parameters, for logs of queries; psycopg does not keep that of a prepared one."""
        prepared = isinstance(cursor, PreparedCursor)
        return self.compose_sql(sql, params) if prepared else super().last_executed_query(cursor, sql, params)


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


class Pool(ConnectionPool[Connection]):
    """The connections of one kind of work."""

    def __init__(self, work: Work, parameters: dict[str, Any], configure: Callable[[Any], Any]) -> None:
        """`configure` is Django's function that sets up a new connection."""
        self.work = work
        self.seconds = STATEMENT_SECONDS[work]
        self.configure_for_django = configure
        options = " ".join(
            [parameters.pop("options", ""), *(f"-c {name}={value}" for name, value in settings_of(work))]
        )
        super().__init__(
            kwargs=parameters | {"options": options, "autocommit": True},
            connection_class=Connection,
            open=False,
            name=f"database-{work.value}",
            min_size=0,
            max_size=POOL_SIZES[work],
            timeout=CONNECT_SECONDS,
            configure=self.prepare,
            check=self.check_lives,
        )

    def getconn(self, timeout: float | None = None) -> Connection:
        """psycopg's `getconn`, but if no connection can be opened it raises the reason instead of PoolTimeout."""
        try:
            return super().getconn(timeout)
        except PoolTimeout as error:
            if (refusal := Connection.refusal) and time.monotonic() - refusal[0] < 2 * CONNECT_SECONDS:
                raise psycopg.OperationalError(refusal[1]) from error
            raise

    def prepare(self, connection: Connection) -> None:
        """Sets up a new connection."""
        self.configure_for_django(connection)
        if connection.info.server_version >= 140_000:
            connection.execute(LOOK_FOR_CLIENT)
        session = connection.execute(INTRODUCTION).fetchone()
        connection.session = session if session and session[0] == connection.info.backend_pid else None
        # Behind a pooler, statements of one client can run in several sessions, so nothing is prepared.
        connection.prepare_threshold = PREPARE_THRESHOLD if connection.session else None
        connection.work, connection.seconds = self.work, self.seconds + GRACE_SECONDS
        with connections_lock:
            open_connections.add(connection)

    def check_lives(self, connection: Connection) -> None:
        """Raises if the connection does not answer; the other idle connections are then closed too."""
        connection.seconds = CHECK_SECONDS  # less than LOOK_SECONDS, so the server is not asked over another connection
        try:
            with uncancelled():
                self.check_connection(connection)
        except psycopg.Error:
            self.drain()
            raise
        connection.seconds = self.seconds + GRACE_SECONDS


def settings_of(work: Work) -> list[tuple[str, int]]:
    """Session settings for PostgreSQL, in milliseconds or seconds as PostgreSQL defines them.

    With the keepalives the server notices a client that is gone, whose session would otherwise keep its locks.
    """
    return [
        ("statement_timeout", round(STATEMENT_SECONDS[work] * 1000)),
        ("idle_in_transaction_session_timeout", round(IDLE_IN_TRANSACTION_SECONDS[work] * 1000)),
        ("tcp_keepalives_idle", 10),
        ("tcp_keepalives_interval", 5),
        ("tcp_keepalives_count", 3),
        ("tcp_user_timeout", 10_000),
    ]


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend with one pool for each kind of work instead of one pool."""

    ops_class = DatabaseOperations
    pools: ClassVar[dict[tuple[str, Work], Pool]] = {}
    left_open: "finalize[Any, Any] | None" = None

    @property
    def pool(self) -> Pool | None:
        """The pool for `current_work`; None if Django connects without a pool, as when it creates a test database."""
        if self.alias == NO_DB_ALIAS or not self.settings_dict["OPTIONS"].get("pool"):
            return None
        key = (self.alias, current_work.get())
        if (pool := self.pools.get(key)) is None:
            # If several threads create one at the same time, all use the one stored first. None of them is open yet.
            pool = self.pools.setdefault(key, Pool(key[1], self.get_connection_params(), self.configure))
        return pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection from the pool. It returns there even if this wrapper is garbage-collected without being closed.

        Django's wrappers are thread-local: if a server kills a request, nothing else closes its wrapper.
        """
        connection = super().get_new_connection(conn_params)
        if self.pool:
            self.left_open = finalize(self, give_back, connection)
            self.left_open.atexit = False
        return connection

    def _close(self) -> None:
        if self.left_open:
            self.left_open.detach()
        super()._close()  # type: ignore[misc]  # the stubs leave it out

    def configure(self, connection: Any) -> None:
        """Applies Django's set-up to a new connection."""
        self._configure_connection(connection)  # type: ignore[attr-defined]  # the stubs leave it out

    def close_pool(self) -> None:
        for key in [key for key in self.pools if key[0] == self.alias]:
            self.pools.pop(key).close()


def give_back(connection: Connection) -> None:
    """Returns a connection to its pool if it was not returned. Closes it first, as a statement may still run on it."""
    pool: Any = connection._pool
    if pool is None:
        return
    logger.warning("A connection to the database was not given back by its request; it is closed")
    connection.close()
    pool.putconn(connection)


def cut_connections() -> None:
    """Closes every connection of this process, so that no thread that waits on one delays the process's end."""
    with connections_lock:
        connections = list(open_connections)
    for connection in connections:
        connection.cut()

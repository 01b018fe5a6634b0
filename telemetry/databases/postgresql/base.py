"""PostgreSQL with a pool for each kind of work, and connections that notice when nobody answers on them."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakSet, finalize

import psycopg
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool, PoolTimeout

from devices.database import instruments
from devices.database.errors import words_of
from devices.database.work import (
    CONNECT_SECONDS,
    IDLE_IN_TRANSACTION_SECONDS,
    POOL_SIZES,
    STATEMENT_SECONDS,
    Work,
    current_work,
)
from telemetry.databases.cancellation import current_cancellation, uncancelled

logger = logging.getLogger(__name__)

# How long the server may take to say that it has ended a statement at its `statement_timeout`, in seconds.
GRACE_SECONDS = 1.0
# A connection from the pool is asked whether it still lives; so long it has for the answer, in seconds.
CHECK_SECONDS = 1.0
# How often a connection that waits for an answer is looked up at the server, in seconds.
LOOK_SECONDS = 4.0
# How long the server may take to accept the request to cancel a statement, in seconds.
CANCEL_SECONDS = 1.0

# Of a session that has sent its answer, or waits for what its client is to send, the client waits in vain.
AT_WORK = """
SELECT state = 'active' AND wait_event_type IS DISTINCT FROM 'Client'
FROM pg_stat_activity WHERE pid = %s AND backend_start = %s
"""
TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s"
INTRODUCTION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# From version 14 on the server can look whether its client is still there, and ends the statement if not.
LOOK_FOR_CLIENT = "SET client_connection_check_interval = '5s'"

# The connections of this process, to be cut when it has to end.
open_connections: "WeakSet[Connection]" = WeakSet()
connections_lock = threading.Lock()


class Connection(psycopg.Connection[Any]):
    """Closes itself where the database does not answer in time.

    A connection can hang although the server is well: after a failover, or behind a firewall that has lost its state,
    nothing arrives any more and nobody says so. So a long wait is looked into: over a connection of its own the server
    is asked whether it still works at the statement.
    """

    work = Work.QUESTION
    # How long a statement may take.
    seconds = float(CONNECT_SECONDS)
    # When (of `time.monotonic`) and why the last attempt to connect failed; None where it did not.
    refusal: ClassVar[tuple[float, str] | None] = None
    # The session's process and start, by which the server can be asked about it; None where a pooler hides it.
    session: tuple[int, Any] | None = None

    @classmethod
    def connect(cls, conninfo: str = "", **parameters: Any) -> "Connection":
        """As psycopg's; remembers why it could not, since a pool tries it in threads of its own and tells nobody."""
        try:
            connection = super().connect(conninfo, **parameters)
        except psycopg.OperationalError as error:
            cls.refusal = (time.monotonic(), str(error))
            raise
        cls.refusal = None
        return connection

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's, which every statement, COPY, COMMIT and fetch goes through, with a deadline.

        Ends early, with ClientGone, where the request's client has left.
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
                    raise  # the server's own error, not the end of our patience
                if asked_for < left and self.is_worked_at():
                    continue
                self.close()
                instruments.CONNECTIONS_REPLACED.labels(self.work.value).inc()
                logger.error("PostgreSQL does not answer (%s): the connection is closed and replaced", self.work.value)
                raise psycopg.OperationalError("PostgreSQL does not answer: the connection was closed") from error

    def is_worked_at(self) -> bool:
        """Whether the server says that it still works at what was asked here; False where it cannot be reached.

        A session that does not is ended there: it would keep its locks, and in the middle of a COPY no timeout of the
        server's own ends it.
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
            logger.warning("A connection that hangs could not be looked up: %s", words_of(error))
        return False

    # These make the connection ready for the next request, also if this one's client has left.

    def rollback(self) -> None:
        with uncancelled():
            super().rollback()

    def set_autocommit(self, value: bool) -> None:
        with uncancelled():
            super().set_autocommit(value)

    def interrupt(self) -> None:
        """From another thread: ends the running statement; the connection stays usable if the server answers."""
        try:
            self.cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            self.cut()

    def cut(self) -> None:
        """From another thread: ends the connection, so that whoever waits on it gets an error at once."""
        with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as half:
            half.shutdown(socket.SHUT_RDWR)


class Pool(ConnectionPool[Connection]):
    """The connections of one kind of work."""

    def __init__(self, work: Work, parameters: dict[str, Any], configure: Callable[[Any], Any]) -> None:
        """`configure` is Django's, for a new connection."""
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
        """As psycopg's, but where none can be opened it raises the reason in place of PoolTimeout."""
        try:
            return super().getconn(timeout)
        except PoolTimeout as error:
            if (refusal := Connection.refusal) and time.monotonic() - refusal[0] < 2 * CONNECT_SECONDS:
                raise psycopg.OperationalError(refusal[1]) from error
            raise

    def prepare(self, connection: Connection) -> None:
        """Of a new connection."""
        self.configure_for_django(connection)
        if connection.info.server_version >= 140_000:
            connection.execute(LOOK_FOR_CLIENT)
        session = connection.execute(INTRODUCTION).fetchone()
        connection.session = session if session and session[0] == connection.info.backend_pid else None
        connection.work, connection.seconds = self.work, self.seconds + GRACE_SECONDS
        with connections_lock:
            open_connections.add(connection)

    def check_lives(self, connection: Connection) -> None:
        """Raises where the connection is dead, or does not answer; then the other idle ones are not trusted either."""
        connection.seconds = CHECK_SECONDS  # less than LOOK_SECONDS, so nobody else is asked
        try:
            with uncancelled():
                self.check_connection(connection)
        except psycopg.Error:
            self.drain()
            raise
        connection.seconds = self.seconds + GRACE_SECONDS


def settings_of(work: Work) -> list[tuple[str, int]]:
    """PostgreSQL's settings of a session, in milliseconds and seconds as it counts them.

    The server looks for a client that is gone as we look for a server that is: a session of which nobody knows any more
    would keep its locks.
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
    """Django's backend, with a pool for each kind of work in the place of its one pool."""

    pools: ClassVar[dict[tuple[str, Work], Pool]] = {}
    left_open: "finalize[Any, Any] | None" = None

    @property
    def pool(self) -> Pool | None:
        """The one of `current_work`; None where Django connects past it, as to make a test's database."""
        if self.alias == NO_DB_ALIAS or not self.settings_dict["OPTIONS"].get("pool"):
            return None
        key = (self.alias, current_work.get())
        if (pool := self.pools.get(key)) is None:
            # Where several threads make one at a time, the first that is kept is used. None of them is open yet.
            pool = self.pools.setdefault(key, Pool(key[1], self.get_connection_params(), self.configure))
        return pool

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """From the pool, to which it returns even if this wrapper is garbage-collected before it is closed.

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
        """What Django does to a new connection."""
        self._configure_connection(connection)  # type: ignore[attr-defined]  # the stubs leave it out

    def close_pool(self) -> None:
        for key in [key for key in self.pools if key[0] == self.alias]:
            self.pools.pop(key).close()


def give_back(connection: Connection) -> None:
    """Returns a connection to its pool if nobody did. Closes it first, because a statement may still run on it."""
    pool: Any = connection._pool
    if pool is None:
        return
    logger.warning("A connection to the database was not given back by its request; it is closed")
    connection.close()
    pool.putconn(connection)


def cut_connections() -> None:
    """Ends every connection of this process, so that no thread keeps it from its end."""
    with connections_lock:
        connections = list(open_connections)
    for connection in connections:
        connection.cut()

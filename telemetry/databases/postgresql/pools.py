"""A pool of connections for each kind of work."""

import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from devices.database.work_kinds import (
    CONNECT_SECONDS,
    IDLE_IN_TRANSACTION_SECONDS,
    POOL_SIZES,
    STATEMENT_SECONDS,
    Work,
)
from telemetry.databases.cancellation import uncancelled
from telemetry.databases.postgresql.connections import Connection

logger = logging.getLogger(__name__)

# Seconds within which the server must report that it ended a statement at its `statement_timeout`.
GRACE_SECONDS = 1.0
# Seconds within which a connection from the pool must answer the check before it is used.
CHECK_SECONDS = 1.0
# After how many executions psycopg prepares a statement by itself: never, only where the code asks for it.
PREPARE_THRESHOLD = sys.maxsize
INTRODUCTION = "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# PostgreSQL 14 and newer can check whether the client is still there, and end the statement if not.
LOOK_FOR_CLIENT = "SET client_connection_check_interval = '5s'"

# The open connections of this process, which are cut when the process ends.
open_connections: "WeakSet[Connection]" = WeakSet()
connections_lock = threading.Lock()


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

"""Kinds of database work; each kind has its own connections and deadlines.

A slow query therefore never takes the connection that ingest needs, and no work waits for the database forever. The
database backends (`telemetry.databases`) read `current_work` when they open a connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

from django.db import OperationalError


class Work(StrEnum):
    """INGEST: keys, group commit, refused posts, health, heartbeats. LIVE: sockets. UPKEEP: maintenance, the evaluation
    of alarms, the delivery of messages, the lock of the MQTT subscriber, and commands.

    MIGRATION: schema changes, which can take long on a large table. QUESTION: everything else, mostly queries.
    """

    INGEST = "ingest"
    LIVE = "live"
    QUESTION = "question"
    UPKEEP = "upkeep"
    MIGRATION = "migration"


# Maximum duration of one statement, in seconds. The database cancels it then (PostgreSQL: `statement_timeout`).
STATEMENT_SECONDS = {
    Work.INGEST: 4.0,
    Work.LIVE: 10.0,
    Work.QUESTION: 30.0,
    Work.UPKEEP: 600.0,
    Work.MIGRATION: 7 * 86_400.0,
}
# How long a transaction may stay open without a statement, in seconds. After that the database ends it, so that the
# locks of a client that disappeared are released.
IDLE_IN_TRANSACTION_SECONDS = {
    Work.INGEST: 5.0,
    Work.LIVE: 5.0,
    Work.QUESTION: 10.0,
    Work.UPKEEP: 60.0,
    Work.MIGRATION: 3600.0,
}
# Maximum time to take a connection from the pool, and to open one, in seconds.
CONNECT_SECONDS = 4
# Maximum number of connections of one process.
POOL_SIZES = {Work.INGEST: 8, Work.LIVE: 4, Work.QUESTION: 12, Work.UPKEEP: 4, Work.MIGRATION: 1}

current_work: ContextVar[Work] = ContextVar("current_work", default=Work.QUESTION)


class DatabaseTimeout(OperationalError):
    """The database did not answer within the deadline of this kind of work."""


class NotBegun(DatabaseTimeout):
    """The deadline passed while the work waited in the queue: none of it was or will be done."""


@contextmanager
def working_at(work: Work) -> Iterator[None]:
    """Opens connections for this kind of work within the block. The thread should hold no connection at its start."""
    before = current_work.set(work)
    try:
        yield
    finally:
        current_work.reset(before)

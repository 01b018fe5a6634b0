"""What a thread uses the database for: each kind of work has connections and deadlines of its own.

So a slow question never takes the connection that ingest needs, and nothing waits for the database for ever. The
database backends (`telemetry.databases`) read `current_work` when they open a connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum

from django.db import OperationalError


class Work(StrEnum):
    """INGEST: keys, group commit, refused posts, health. LIVE: sockets. UPKEEP: maintenance and commands.

    MIGRATION: changes of the schema, which on a large table take as long as they take. QUESTION: all else.
    """

    INGEST = "ingest"
    LIVE = "live"
    QUESTION = "question"
    UPKEEP = "upkeep"
    MIGRATION = "migration"


# How long one statement may take, in seconds. The database ends it then (PostgreSQL: `statement_timeout`).
STATEMENT_SECONDS = {
    Work.INGEST: 4.0,
    Work.LIVE: 10.0,
    Work.QUESTION: 30.0,
    Work.UPKEEP: 600.0,
    Work.MIGRATION: 7 * 86_400.0,
}
# How long a transaction may be open while nothing is asked in it, in seconds. The locks of one whose client is gone
# without a word are released then.
IDLE_IN_TRANSACTION_SECONDS = {
    Work.INGEST: 5.0,
    Work.LIVE: 5.0,
    Work.QUESTION: 10.0,
    Work.UPKEEP: 60.0,
    Work.MIGRATION: 3600.0,
}
# How long taking a connection from the pool, and opening one, may take, in seconds.
CONNECT_SECONDS = 4
# Connections of one process, at most.
POOL_SIZES = {Work.INGEST: 6, Work.LIVE: 4, Work.QUESTION: 12, Work.UPKEEP: 2, Work.MIGRATION: 1}

current_work: ContextVar[Work] = ContextVar("current_work", default=Work.QUESTION)


class DatabaseTimeout(OperationalError):
    """The database did not answer within the deadline of this kind of work."""


class NotBegun(DatabaseTimeout):
    """The deadline passed while the work waited for its turn: nothing of it was or will be done."""


@contextmanager
def working_at(work: Work) -> Iterator[None]:
    """Takes connections for this kind of work within the block. The thread should hold none when it begins."""
    before = current_work.set(work)
    try:
        yield
    finally:
        current_work.reset(before)

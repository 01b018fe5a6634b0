"""Sends statements of the write path together: each round trip to the database costs both sides about 100 µs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


@contextmanager
def together(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Sends the statements of the block together and waits for all answers; PostgreSQL only. Raises DatabaseError.

    COPY and `raw()` are impossible in the block, and so is going on after an error. At its end the server knows that
    all is answered. Within a pipeline it does not, and its timeout for idle transactions does not apply: a transaction
    of a process that was stopped there would keep its locks. Within another pipeline the block is a part of that one.
    """
    connection.ensure_connection()
    if connection.connection.pgconn.pipeline_status:
        yield
        return
    # wrap_database_errors, because Django wraps only errors of its own cursors.
    with connection.wrap_database_errors, connection.connection.pipeline():
        yield


@contextmanager
def committing_pipeline(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """The end of the body of an outermost `transaction.atomic`; on SQLite it has no effect. It ends with the COMMIT.

    On PostgreSQL the statements of the block are sent together with the COMMIT; none may ask for its result before. The
    first error is raised at the end, and nothing after it is executed. Raises DatabaseError. See also `together`.
    """
    if connection.vendor != "postgresql":
        yield
        return
    with together(connection):
        yield
        # As a statement, because psycopg's commit() would wait for the answer, and the end of the pipeline once more.
        connection.connection.execute("COMMIT")


def execute_prepared(connection: BaseDatabaseWrapper, statement: str, parameters: Any = None) -> CursorWrapper:
    """Executes a statement that the server parses and plans once for each connection; PostgreSQL only.

    Planning takes the server longer than executing. Behind a pooler nothing is prepared, because the next transaction
    may be in another session (`telemetry.databases.postgresql`), nor in a distributed database, which chooses the shard
    by constants in the statement. Raises DatabaseError.
    """
    if settings.DISTRIBUTED:
        plain = connection.cursor()
        plain.execute(statement, parameters)
        return plain
    connection.ensure_connection()
    prepared = connection.connection.prepared_cursor()
    cursor = connection.make_debug_cursor(prepared) if connection.queries_logged else connection.make_cursor(prepared)
    cursor.execute(statement, parameters)
    return cursor


def execute_each(connection: BaseDatabaseWrapper, statement: str, groups: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of the statement with each of these parameters, one set for each group of `devices.database.placement`.

    PostgreSQL only. Several are sent together. Raises DatabaseError.
    """
    with together(connection) if len(groups) > 1 else nullcontext():
        cursors = [execute_prepared(connection, statement, parameters) for parameters in groups]
    return [row for cursor in cursors for row in cursor.fetchall()]

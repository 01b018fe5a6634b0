"""Runs the statements of the checks, and reads the values that the two databases return in different forms."""

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction

# Rows fetched at a time. A row can have a segment of some kilobytes.
FETCHED_ROWS = 200
# Faults listed of one kind of a device. More are not looked for.
LISTED = 10


def rows(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def streamed(statement: str, parameters: list[Any]) -> Iterator[tuple[Any, ...]]:
    """The rows of one statement, in one snapshot, never all of them in memory."""
    with (
        # PostgreSQL would write the whole result to disk outside a transaction. SQLite would block all writers in one.
        transaction.atomic() if connection.vendor == "postgresql" else nullcontext(),
        connection.chunked_cursor() as cursor,
    ):
        cursor.execute(statement, parameters)
        while piece := cursor.fetchmany(FETCHED_ROWS):
            yield from piece


def moment(value: datetime) -> Any:
    """A time as a parameter of SQL."""
    return connection.ops.adapt_datetimefield_value(value)


def aware(value: datetime | str) -> datetime:
    """SQLite returns times without a time zone, or as texts."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

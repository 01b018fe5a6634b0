"""Locks for tasks that only one process at a time may run on a database."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from django.db import DatabaseError, InterfaceError, connection

Task = Literal["maintenance", "alarms", "delivery", "migration", "subscriber"]

# Keys of PostgreSQL's advisory locks: arbitrary numbers that nothing else uses.
KEYS: dict[Task, int] = {
    "maintenance": 7_310_867_041,
    "migration": 7_310_867_042,
    "alarms": 7_310_867_043,
    "delivery": 7_310_867_044,
    "subscriber": 7_310_867_045,
}

POLL_SECONDS = 0.25


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Busy(Exception):
    """Another process is running the task."""


@contextmanager
def exclusively(task: Task, *, wait: bool = False) -> Iterator[None]:
    """Holds the lock of a task during the block. If another process holds it, waits with `wait`, else raises Busy.

    On PostgreSQL this is an advisory lock of the session, which ends with the connection; on SQLite it is a lock on a
    file next to the database. Raises OperationalError if the database cannot be reached.
    """
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        # Polls instead of waiting in a statement, because CREATE INDEX CONCURRENTLY in the process that holds the lock
        # would wait for the snapshot of that statement, and because statements have a shorter deadline than migrations.
        while not locked(task):
            if not wait:
                raise Busy
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            # If the connection was lost, the lock was released with it.
            with suppress(DatabaseError, InterfaceError), connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [KEYS[task]])
    else:
        database = Path(str(connection.settings_dict["NAME"]))
        with open(database.with_name(f"{database.name}-{task}"), "w", opener=private) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Busy from error
            yield


def locked(task: Task) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [KEYS[task]])
        return bool(cursor.fetchone()[0])

"""What must never be done by two processes at once, on one database."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from django.db import DatabaseError, InterfaceError, connection

Task = Literal["maintenance", "migration"]

# The keys of PostgreSQL's advisory locks: any numbers that nobody else uses.
KEYS: dict[Task, int] = {"maintenance": 7_310_867_041, "migration": 7_310_867_042}

POLL_SECONDS = 0.25


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Busy(Exception):
    """Another process is at it."""


@contextmanager
def exclusively(task: Task, *, wait: bool = False) -> Iterator[None]:
    """Keeps a task to one process, however many try. Raises Busy, unless it is to wait.

    On PostgreSQL an advisory lock of the session, which ends with the connection; on SQLite a lock on a file beside the
    database. Raises OperationalError where the database cannot be reached.
    """
    connection.ensure_connection()
    if connection.vendor == "postgresql":
        # Asked again and again rather than by a statement that waits: CREATE INDEX CONCURRENTLY of whoever has the lock
        # would wait for that statement's snapshot, and no statement may run as long as a migration.
        while not locked(task):
            if not wait:
                raise Busy
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            # Where the connection was lost, so was the lock.
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

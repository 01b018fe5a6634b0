"""SQLite with a deadline for each statement, which depends on the kind of work."""

import itertools
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from sqlite3 import Connection, OperationalError
from typing import Any

import django.db
from django.db.backends.sqlite3 import base

from devices.database import instruments
from devices.database.work_kinds import STATEMENT_SECONDS, Work, current_work
from telemetry.databases.cancellation import current_cancellation

# Seconds between two checks for statements past their deadline.
LOOK_SECONDS = 0.25
# Seconds that a statement waits for the write lock. SQLite allows one writer at a time.
LOCK_SECONDS = {Work.INGEST: 4.0, Work.LIVE: 4.0, Work.QUESTION: 10.0, Work.UPKEEP: 20.0, Work.MIGRATION: 60.0}


class Watch:
    """Interrupts statements at their deadline, from a thread that ends after about 10 s without statements."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.numbers = itertools.count()
        # By number: the deadline (`time.monotonic`) and the connection of the statement.
        self.running: dict[int, tuple[float, Connection]] = {}
        self.thread: threading.Thread | None = None

    def begin(self, connection: Connection, seconds: float) -> int:
        number = next(self.numbers)
        self.running[number] = (time.monotonic() + seconds, connection)
        if self.thread is None:
            with self.lock:
                if self.thread is None:
                    self.thread = threading.Thread(target=self.look, name="sqlite-deadlines", daemon=True)
                    self.thread.start()
        return number

    def end(self, number: int) -> None:
        self.running.pop(number, None)

    def look(self) -> None:
        quiet = 0
        while True:
            time.sleep(LOOK_SECONDS)
            now = time.monotonic()
            overdue = [connection for deadline, connection in list(self.running.values()) if deadline < now]
            for connection in overdue:
                connection.interrupt()
            quiet = 0 if self.running else quiet + 1
            if quiet > 40:
                with self.lock:
                    if not self.running:
                        self.thread = None
                        return

    def interrupt_all(self) -> None:
        for _, connection in list(self.running.values()):
            connection.interrupt()


watch = Watch()


class Cursor(base.SQLiteCursorWrapper):
    """A cursor with a deadline for statements and for fetches, because SQLite computes rows as they are fetched."""

    @contextmanager
    def deadline(self) -> Iterator[None]:
        cancellation = current_cancellation.get()
        interruptible = cancellation.statement(self.connection.interrupt) if cancellation else nullcontext()
        with interruptible, self.statement_deadline():
            yield

    @contextmanager
    def statement_deadline(self) -> Iterator[None]:
        work = current_work.get()
        number = watch.begin(self.connection, STATEMENT_SECONDS[work])
        try:
            yield
        except OperationalError as error:
            cancellation = current_cancellation.get()
            if str(error) == "interrupted" and not (cancellation and cancellation.requested):
                instruments.DATABASE_TIMEOUTS.labels(work.value).inc()
                raise OperationalError(f"interrupted: it took longer than {STATEMENT_SECONDS[work]:g} s") from error
            raise
        finally:
            watch.end(number)

    def execute(self, query: str, params: Any = None) -> Any:
        with self.deadline():
            return super().execute(query, params)

    def executemany(self, query: str, param_list: Any) -> Any:
        with self.deadline():
            return super().executemany(query, param_list)

    def fetchone(self) -> Any:
        with self.deadline():
            return super().fetchone()

    def fetchmany(self, size: int | None = 1) -> Any:
        with self.deadline():
            return super().fetchmany(size)

    def fetchall(self) -> Any:
        with self.deadline():
            return super().fetchall()


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's backend, which also raises OperationalError if the database file was removed or replaced.

    SQLite would go on writing to the removed file without an error, and the data would be lost.
    """

    file: tuple[int, int] | None = None

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        connection: Connection = super().get_new_connection(conn_params)
        self.file = self.file_on_disk()
        return connection

    def file_on_disk(self) -> tuple[int, int] | None:
        """Device and inode of the file; None if there is no file."""
        try:
            status = os.stat(self.settings_dict["NAME"])
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _start_transaction_under_autocommit(self) -> None:
        if self.file is not None and self.file_on_disk() != self.file:
            self.close()
            raise django.db.OperationalError("the database's file was removed or replaced")
        super()._start_transaction_under_autocommit()  # type: ignore[misc]

    def get_connection_params(self) -> dict[str, Any]:
        parameters: dict[str, Any] = super().get_connection_params()
        return parameters | {"timeout": LOCK_SECONDS[current_work.get()]}

    def create_cursor(self, name: str | None = None) -> Any:
        return self.connection.cursor(factory=Cursor)

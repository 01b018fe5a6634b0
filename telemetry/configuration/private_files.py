"""Keeps files readable for the server's own account only: the database, the files beside it, and `.env`."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

PRIVATE = 0o600
# Suffixes of files beside a database: SQLite's own, and the locks of `readings.upkeep.locks`.
BESIDE = ("-wal", "-shm", "-journal", "-maintenance", "-migration")

creating = Lock()


def excess(path: Path) -> int:
    """The permissions of others than the owner, as mode bits; 0 if there is no such regular file.

    If the file's group is not this process's group, it was set on purpose, and its permissions do not count.
    """
    try:
        status = path.stat()
    except OSError:
        return 0
    if not stat.S_ISREG(status.st_mode):
        return 0
    others = stat.S_IRWXO if status.st_gid != os.getegid() else stat.S_IRWXO | stat.S_IRWXG
    return status.st_mode & others


def tighten(path: Path) -> None:
    """Removes these permissions if this process owns the file."""
    if too_much := excess(path):
        with suppress(OSError):
            status = path.stat()
            if status.st_uid == os.geteuid():
                path.chmod(stat.S_IMODE(status.st_mode) & ~too_much)


def files_of(database: Path) -> Iterator[Path]:
    yield database
    yield from (database.with_name(f"{database.name}{ending}") for ending in BESIDE)


class PrivateConnection(sqlite3.Connection):
    """The `factory` of every SQLite connection: creates the database file with mode 600, or restricts an existing one.

    SQLite gives the files that it creates beside a database the same mode.
    """

    def __init__(self, database: Any, *args: Any, **options: Any) -> None:
        path = Path(os.fspath(database))
        # Locked while the file is open, because closing it releases all locks that the process has on it (fcntl).
        with creating, suppress(FileExistsError, FileNotFoundError):
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
        if excess(path):
            for file in files_of(path):
                tighten(file)
        super().__init__(database, *args, **options)

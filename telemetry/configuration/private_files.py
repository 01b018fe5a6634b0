"""Files that only the account of the server may read: the database, what lies beside it, and `.env`."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

PRIVATE = 0o600
# What lies beside a database: SQLite's own, and the locks of `readings.upkeep.locks`.
BESIDE = ("-wal", "-shm", "-journal", "-maintenance", "-migration")

creating = Lock()


def excess(path: Path) -> int:
    """What others than its owner may do with a file, as bits of its mode; 0 where there is no such file.

    A group other than that of this process was given the file on purpose, and keeps what it may.
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
    """Takes from a file of ours what others may do with it."""
    if too_much := excess(path):
        with suppress(OSError):
            status = path.stat()
            if status.st_uid == os.geteuid():
                path.chmod(stat.S_IMODE(status.st_mode) & ~too_much)


def files_of(database: Path) -> Iterator[Path]:
    yield database
    yield from (database.with_name(f"{database.name}{ending}") for ending in BESIDE)


class PrivateConnection(sqlite3.Connection):
    """The `factory` of every connection to SQLite: its file is made private, or becomes so.

    SQLite gives the files that it makes beside a database the database's own mode.
    """

    def __init__(self, database: Any, *args: Any, **options: Any) -> None:
        path = Path(os.fspath(database))
        # Held while the file is open: to close it ends every lock that the process has on it (fcntl).
        with creating, suppress(FileExistsError, FileNotFoundError):
            if not path.exists():
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
        if excess(path):
            for file in files_of(path):
                tighten(file)
        super().__init__(database, *args, **options)

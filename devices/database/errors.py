"""What a database error means: whether it may pass by itself, and in which words operators are told."""

from enum import StrEnum
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError

from devices.database.runner import RunnerBusy
from devices.database.work import DatabaseTimeout


class Trouble(StrEnum):
    """Errors after which the same request may succeed later. The values are codes for programs."""

    UNREACHABLE = "database_unavailable"
    READ_ONLY = "database_read_only"
    FULL = "database_full"
    BUSY = "database_busy"
    TIMEOUT = "database_timeout"
    FAILED = "database_failed"


WORDS = {
    Trouble.UNREACHABLE: "The database cannot be reached. Check DATABASE_URL and that the server runs.",
    Trouble.READ_ONLY: "The database is read-only, as a standby is after a failover, or its file may not be written.",
    Trouble.FULL: "The database's disk is full. Free space on it.",
    Trouble.BUSY: "The database is busy: a lock or a free connection was not to be had in time.",
    Trouble.TIMEOUT: "The database did not answer in time.",
    Trouble.FAILED: "The database failed. The log has its own words.",
}

# PostgreSQL's SQLSTATE (appendix A): whole codes first, then classes.
CODES = {
    "25006": Trouble.READ_ONLY,
    "53100": Trouble.FULL,
    "57014": Trouble.TIMEOUT,
    "25P03": Trouble.TIMEOUT,  # idle_in_transaction_session_timeout
    "57P05": Trouble.TIMEOUT,  # idle_session_timeout
}
CLASSES = {
    "08": Trouble.UNREACHABLE,  # connection
    "28": Trouble.UNREACHABLE,  # name or password
    "3D": Trouble.UNREACHABLE,  # no such database
    "40": Trouble.BUSY,  # deadlock, serialization
    "53": Trouble.BUSY,  # connections, memory
    "55": Trouble.BUSY,  # locks
    "57": Trouble.UNREACHABLE,  # shutting down, starting up
    "58": Trouble.FAILED,  # input and output
}
# SQLite's result codes by name, by how they begin; the extended ones are longer.
SQLITE_CODES = {
    "SQLITE_READONLY": Trouble.READ_ONLY,
    "SQLITE_PERM": Trouble.READ_ONLY,
    "SQLITE_FULL": Trouble.FULL,
    "SQLITE_BUSY": Trouble.BUSY,
    "SQLITE_LOCKED": Trouble.BUSY,
    "SQLITE_INTERRUPT": Trouble.TIMEOUT,
    "SQLITE_CANTOPEN": Trouble.UNREACHABLE,
    "SQLITE_IOERR": Trouble.FAILED,
    "SQLITE_PROTOCOL": Trouble.FAILED,
}


def trouble_of(error: BaseException) -> Trouble | None:
    """What ails the database; None for an error of another kind, such as a statement of ours that is wrong."""
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    if isinstance(error, DatabaseTimeout):
        return Trouble.TIMEOUT
    if isinstance(error, RunnerBusy):
        return Trouble.BUSY
    if sqlstate := attribute_of(error, "sqlstate"):
        return CODES.get(sqlstate) or CLASSES.get(sqlstate[:2])
    if name := attribute_of(error, "sqlite_errorname"):
        return next((trouble for code, trouble in SQLITE_CODES.items() if name.startswith(code)), None)
    if not isinstance(error, OperationalError | InterfaceError):
        return None
    text = str(error)
    if "couldn't get a connection" in text:  # psycopg_pool's, which has no code
        return Trouble.BUSY
    if "does not answer" in text or text.startswith("interrupted"):  # our backends'
        return Trouble.TIMEOUT
    return None if "no such table" in text else Trouble.UNREACHABLE


def is_undone(error: BaseException) -> bool:
    """Whether an error of COMMIT means that the transaction was rolled back, so that nothing of it is stored.

    A server that answers with an error has rolled back. Where the connection ends before the answer, nobody knows.
    """
    if sqlstate := attribute_of(error, "sqlstate"):
        return sqlstate[:2] not in ("08", "57") or sqlstate == "57014"
    if name := attribute_of(error, "sqlite_errorname"):
        return not name.startswith("SQLITE_IOERR")
    return False


def attribute_of(error: BaseException, name: str) -> Any:
    """That of the driver's error, which Django's was raised from."""
    cause: BaseException | None = error
    while cause is not None:
        if value := getattr(cause, name, None):
            return value
        cause = cause.__cause__
    return None


def words_of(error: BaseException) -> str:
    """The error's first line, for the log. What follows may hold values: PostgreSQL's DETAIL and CONTEXT do."""
    return str(error).strip().partition("\n")[0] or repr(type(error).__name__)

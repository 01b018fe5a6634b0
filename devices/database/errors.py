"""Classifies database errors: which ones are temporary, and the message that operators get for each kind."""

from enum import StrEnum
from typing import Any

from django.db import DatabaseError, InterfaceError, OperationalError

from devices.database.runner import RunnerBusy
from devices.database.work_kinds import DatabaseTimeout


class Trouble(StrEnum):
    """Kinds of errors after which the same request may succeed later. The values are error codes of the API."""

    UNREACHABLE = "database_unavailable"
    READ_ONLY = "database_read_only"
    FULL = "database_full"
    BUSY = "database_busy"
    TIMEOUT = "database_timeout"
    FAILED = "database_failed"


WORDS = {
    Trouble.UNREACHABLE: "The database cannot be reached. Check DATABASE_URL and that the server runs.",
    Trouble.READ_ONLY: "The database is read-only: it is a standby after a failover, or its file is not writable.",
    Trouble.FULL: "The database's disk is full. Free space on it.",
    Trouble.BUSY: "The database is busy: no lock or no free connection became available in time.",
    Trouble.TIMEOUT: "The database did not answer in time.",
    Trouble.FAILED: "The database failed. The log has the error message of the database.",
}

# PostgreSQL's SQLSTATE (appendix A): CODES has whole codes and is searched first; CLASSES has their beginnings.
CODES = {
    # A prepared statement is older than a change of its table; in a distributed database also: a shard was split since
    # `devices.database.placement` asked for it.
    "0A000": Trouble.BUSY,
    "25006": Trouble.READ_ONLY,
    "53100": Trouble.FULL,
    "57014": Trouble.TIMEOUT,
    "25P03": Trouble.TIMEOUT,  # idle_in_transaction_session_timeout
    "57P05": Trouble.TIMEOUT,  # idle_session_timeout
}
CLASSES = {
    "08": Trouble.UNREACHABLE,  # connection failed
    "28": Trouble.UNREACHABLE,  # wrong name or password
    "3D": Trouble.UNREACHABLE,  # no such database
    "40": Trouble.BUSY,  # deadlock, serialization
    "53": Trouble.BUSY,  # too many connections, out of memory
    "55": Trouble.BUSY,  # lock not available
    "57": Trouble.UNREACHABLE,  # shutting down, starting up
    "58": Trouble.FAILED,  # input or output error
    "XX": Trouble.FAILED,  # internal error: corrupted data, or a failed COPY to several nodes of a distributed database
}
# Beginnings of the names of SQLite's result codes; extended codes have longer names.
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
    """The kind of trouble; None for any other error, such as an incorrect statement in our code."""
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
    if "couldn't get a connection" in text:  # from psycopg_pool, which gives no code
        return Trouble.BUSY
    if "does not answer" in text or text.startswith("interrupted"):  # from our database backends
        return Trouble.TIMEOUT
    return None if "no such table" in text else Trouble.UNREACHABLE


def is_undone(error: BaseException) -> bool:
    """Whether an error of COMMIT proves that the transaction was rolled back, so that nothing of it is stored.

    A server that answers with an error has rolled back. If the connection ends before the answer, the outcome is
    unknown, and this returns False. So it does if Citus lost a node that it had told to commit.
    """
    if "could not commit transaction for shard" in str(error):
        return False
    if sqlstate := attribute_of(error, "sqlstate"):
        return sqlstate[:2] not in ("08", "57") or sqlstate == "57014"
    if name := attribute_of(error, "sqlite_errorname"):
        return not name.startswith("SQLITE_IOERR")
    return False


def attribute_of(error: BaseException, name: str) -> Any:
    """The attribute `name` of the driver's error that caused Django's error; None if no error in the chain has it."""
    cause: BaseException | None = error
    while cause is not None:
        if value := getattr(cause, name, None):
            return value
        cause = cause.__cause__
    return None


def words_of(error: BaseException) -> str:
    """The first line of the error, for the log. Later lines may contain data (DETAIL and CONTEXT of PostgreSQL)."""
    return str(error).strip().partition("\n")[0] or repr(type(error).__name__)

"""CPU time of processes with all that they have started, from /proc."""

import os
import resource
from pathlib import Path
from typing import NamedTuple

from telemetry.tests.support.postgresql import PostgreSQL, children_of

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds of CPU time, user and system."""

    server: float
    database: float

    def __sub__(self, before: "Cpu") -> "Cpu":
        return Cpu(self.server - before.server, self.database - before.database)

    def each(self, count: int) -> "Cpu":
        """Microseconds for each of so many."""
        return Cpu(self.server / count * 1e6, self.database / count * 1e6)

    @property
    def total(self) -> float:
        return self.server + self.database


def seconds_of(pid: int) -> float:
    """User and system time of a process, of those that it has started, and of those that have ended (proc(5): stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended, and its parent has its time
        return 0.0
    own = sum(map(int, fields[11:15])) / TICKS_PER_SECOND
    return own + sum(map(seconds_of, children_of(pid)))


def database_seconds(postgresql: PostgreSQL | None) -> float:
    """Of every process of PostgreSQL so far; none for SQLite, which works in the server's own process."""
    if postgresql is None:
        return 0.0
    return seconds_of(int((postgresql.folder / "data" / "postmaster.pid").read_text().split()[0]))


def used(server: int, postgresql: PostgreSQL | None) -> Cpu:
    """By the process `server` and by the database so far."""
    return Cpu(seconds_of(server), database_seconds(postgresql))


def ended_children_seconds() -> float:
    """Of the processes that this one has started and that have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime

"""CPU time of processes, including their children, from /proc."""

import os
import resource
from pathlib import Path
from typing import NamedTuple

from telemetry.tests.support.servers.postgresql import PostgreSQL, children_of

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Cpu(NamedTuple):
    """Seconds of CPU time, user and system."""

    server: float
    database: float

    def __sub__(self, before: "Cpu") -> "Cpu":
        return Cpu(self.server - before.server, self.database - before.database)

    def each(self, count: int) -> "Cpu":
        """This CPU time divided by `count`, in microseconds."""
        return Cpu(self.server / count * 1e6, self.database / count * 1e6)

    @property
    def total(self) -> float:
        return self.server + self.database


def seconds_of(pid: int) -> float:
    """User and system time in seconds of a process, its children and its ended children (proc(5): stat)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # the process has ended, and its parent's figures include it
        return 0.0
    own = sum(map(int, fields[11:15])) / TICKS_PER_SECOND
    return own + sum(map(seconds_of, children_of(pid)))


def database_seconds(postgresql: PostgreSQL | None) -> float:
    """CPU time of all PostgreSQL processes in seconds; 0 for SQLite, which runs in the server's process."""
    if postgresql is None:
        return 0.0
    return seconds_of(int((postgresql.folder / "data" / "postmaster.pid").read_text().split()[0]))


def used(server: int, postgresql: PostgreSQL | None) -> Cpu:
    """CPU time used so far by the process `server` and by the database."""
    return Cpu(seconds_of(server), database_seconds(postgresql))


def ended_children_seconds() -> float:
    """CPU time in seconds of the ended child processes of this process."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime

"""Samples the memory, threads and PostgreSQL connections of a process."""

import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from telemetry.tests.support.servers.server import Server


class Usage(NamedTuple):
    memory_mb: float
    threads: int
    connections: int


def usage(server: Server, database_url: str) -> Usage:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines() if line
    )
    with psycopg.connect(database_url) as administrator:
        row = administrator.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row
    return Usage(int(status["VmRSS"].split()[0]) / 1024, int(status["Threads"]), row[0])


class Watch:
    """Samples every second. `memory` is the median of a part of the run, where 0 is its start and 1 its end."""

    def __init__(self, server: Server, database_url: str) -> None:
        self.server, self.database_url = server, database_url
        self.seen: list[Usage] = []
        self.stop = threading.Event()

    @contextmanager
    def watching(self, *, every: float = 1.0) -> Iterator["Watch"]:
        def look() -> None:
            while not self.stop.wait(every):
                self.seen.append(usage(self.server, self.database_url))

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield self
        finally:
            self.stop.set()
            thread.join()

    def memory(self, begin: float = 0.0, end: float = 1.0) -> float:
        part = self.seen[int(len(self.seen) * begin) : max(int(len(self.seen) * end), 1)]
        return statistics.median(found.memory_mb for found in part)

    def peak_mb(self) -> float:
        return max(found.memory_mb for found in self.seen)

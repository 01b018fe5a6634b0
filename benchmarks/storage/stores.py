"""The product on PostgreSQL and on SQLite, filled with readings and sealed."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.contenders.served import ROOT, create_database, drop_database
from benchmarks.measuring.servers import Server

ADMIN_KEY = "admin-key-of-the-benchmark-0123456789"
PORT = int(os.environ.get("BENCH_STORAGE_PORT", "8760"))
DATABASE = os.environ.get("BENCH_STORAGE_DATABASE", "bench_storage")
# Each with its indexes.
TABLES = ("readings_reading", "readings_segment", "readings_sealedid", "readings_rollup", "readings_rollupblock")


class Store(NamedTuple):
    """The product on a database. `file`: that of SQLite."""

    name: str
    url: str
    file: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            "ENV_FILE": os.devnull,
            "SECRET_KEY": "secret-key-of-the-benchmark-0123456789-0123456789",
            "API_SECRET_KEY": ADMIN_KEY,
            "PORT": str(PORT),
            "LOG_LEVEL": "WARNING",
            "DATABASE_URL": self.url,
            "REDIS_URL": "",
            # A day of waiting is left out: `--seal-before` seals what was noted.
            "SEAL_AFTER_DAYS": "0.0001",
        }

    def manage(self, *arguments: str, **environment: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        variables = os.environ | self.environment | environment
        return subprocess.run(command, cwd=ROOT, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout

    @contextmanager
    def served(self, folder: Path, *, sealing: bool = False) -> Iterator[Server]:
        """Runs a new `manage.py up` that seals what was noted two days ago, by default nothing."""
        command = [sys.executable, "manage.py", "up", "--no-demo"]
        environment = self.environment | {"SEAL_AFTER_DAYS": "2" if sealing else "0"}
        with Server(command, port=PORT, log=folder / "log", environment=environment) as server:
            yield server

    def fill(self, end: datetime, *, devices: int, days: int, client_ids: bool) -> None:
        self.manage("migrate", "--verbosity", "0")
        arguments = f"end=datetime.fromisoformat({end.isoformat()!r}), devices={devices}, days={days}"
        code = (
            "from datetime import datetime; from benchmarks.storage.filling import fill; "
            f"fill({arguments}, client_ids={client_ids})"
        )
        self.manage("shell", "--no-imports", "-c", code)
        while not self.manage("maintain", "--once", SEAL_AFTER_DAYS="0").startswith("0 readings rolled up"):
            pass

    def seal(self) -> float:
        """Seals all readings, and the rollups that are old enough; returns the seconds that it took."""
        self.manage("maintain", "--once")  # notes that all readings are received
        started = time.monotonic()
        self.manage("maintain", "--once", "--seal-before", "now")
        return time.monotonic() - started

    def sizes(self) -> dict[str, float]:
        """Bytes by table, after the database has given back the space of deleted rows."""
        if self.file is None:
            with psycopg.connect(self.url, autocommit=True) as connection:
                connection.execute("SET statement_timeout = 0")
                for table in TABLES:
                    connection.execute(f"VACUUM FULL {table}")
                connection.execute("VACUUM ANALYZE")
                return {
                    table: float(connection.execute("SELECT pg_total_relation_size(%s)", [table]).fetchone()[0])  # type: ignore[index]
                    for table in TABLES
                }
        with closing(sqlite3.connect(self.file)) as file:
            file.execute("VACUUM")
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            sql = "SELECT sum(pgsize) FROM dbstat WHERE name IN (SELECT name FROM sqlite_master WHERE tbl_name = ?)"
            try:
                return {table: float(file.execute(sql, [table]).fetchone()[0] or 0) for table in TABLES}
            except sqlite3.OperationalError:  # a build without dbstat
                return {"file": float(self.file.stat().st_size)}


@contextmanager
def postgresql() -> Iterator[Store]:
    create_database(DATABASE)
    try:
        yield Store("PostgreSQL", f"postgresql://postgres@127.0.0.1/{DATABASE}")
    finally:
        drop_database(DATABASE)


def sqlite(folder: Path) -> Store:
    file = folder / "bench.sqlite3"
    return Store("SQLite", f"sqlite:///{file}", file)

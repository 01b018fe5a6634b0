"""Measures export, import, and maintenance during ingest at full speed."""

import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
import psycopg
from rich.console import Console

from benchmarks.contenders.served import ROOT, Contender, create_database, drop_database, product
from benchmarks.ingest import SEPARATOR, reading
from benchmarks.measuring import load
from benchmarks.queries.table import ADMIN_KEY, ENVIRONMENT, URL, serve

ROWS = 1_000_000
IMPORTED = "bench_import"
LOAD_SECONDS = 20
ROUNDS = 2
DEVICES, BATCH, BODIES = 1000, 1000, 64

console = Console()


def export(end: datetime) -> dict[str, float]:
    """Exports a million rows as CSV from a new server: seconds to the first byte and in all, and MB over idle."""
    with serve() as server:
        headers = {"X-API-Key": ADMIN_KEY}
        httpx.get(f"{server.url}/api/v1/devices/fast-0/history", headers=headers, params={"limit": 1})
        idle = server.peak_memory_mb()
        start = (end - timedelta(seconds=ROWS)).isoformat()
        query = urllib.parse.urlencode({"format": "csv", "start": start, "end": end.isoformat()})
        address = f"{server.url}/api/v1/devices/fast-0/history?{query}"
        started = time.perf_counter()
        first, lines = 0.0, 0
        with httpx.stream("GET", address, headers=headers, timeout=60) as response:
            for part in response.iter_raw():
                first = first or time.perf_counter() - started
                lines += part.count(b"\n")
        taken = time.perf_counter() - started
        assert lines == ROWS + 1
        return {"first byte s": first, "s": taken, "MB over idle": server.peak_memory_mb() - idle}


def importing(end: datetime) -> dict[str, float]:
    """Imports a million rows of CSV into a new database: rows per second; then again, killed half-way and resumed."""
    command = [sys.executable, "manage.py", "import_readings", "--register"]
    environment = ENVIRONMENT | {"DATABASE_URL": f"postgresql://postgres@127.0.0.1/{IMPORTED}"}

    def prepare() -> None:
        create_database(IMPORTED)
        subprocess.run([*command[:2], "migrate", "-v0"], cwd=ROOT, env=environment, check=True)

    with tempfile.NamedTemporaryFile("wb", suffix=".csv") as file:
        # In the order in which an export gives them.
        select = (
            "SELECT device_id, timestamp, temperature, humidity, voltage, extra->>'rssi' AS rssi FROM readings_reading "
            f"WHERE device_id = 'fast-0' AND timestamp < '{end.isoformat()}' ORDER BY timestamp DESC LIMIT {ROWS}"
        )
        with psycopg.connect(URL) as connection, connection.cursor() as cursor:
            cursor.execute("SET TimeZone = 'UTC'")
            with cursor.copy(f"COPY ({select}) TO STDOUT WITH (FORMAT csv, HEADER)") as copy:
                for block in copy:
                    file.write(block)
        file.flush()
        try:
            prepare()
            started = time.perf_counter()
            subprocess.run([*command, file.name], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
            taken = time.perf_counter() - started
            assert imported() == (ROWS, ROWS, ROWS)
            prepare()
            process = subprocess.Popen([*command, file.name], cwd=ROOT, env=environment)
            while log_length() < ROWS / 2:
                assert process.poll() is None, "it ended before it could be killed"
                time.sleep(0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed_at = imported()[0]
            subprocess.run([*command, file.name], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
            assert imported() == (ROWS, ROWS, ROWS)
        finally:
            drop_database(IMPORTED)
    return {"rows/s": ROWS / taken, "killed at": killed_at}


def imported() -> tuple[int, int, int]:
    """The number of readings, the number of different timestamps, and the highest `seq`."""
    with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={IMPORTED}") as connection:
        row = connection.execute(
            "SELECT count(*), count(DISTINCT timestamp), coalesce(max(seq), 0) FROM readings_reading"
        ).fetchone()
        assert row
        return row


def log_length() -> int:
    with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={IMPORTED}") as connection:
        row = connection.execute("SELECT coalesce(sum(last_seq), 0) FROM devices_devicestate").fetchone()
        assert row
        return int(row[0])


class Kept(NamedTuple):
    """Maintenance under load, as medians.

    `without` and `beside` are readings per second without and with maintenance. `waiting` readings were not rolled up
    at the end of the load; `behind_seconds` later all were.
    """

    without: float
    beside: float
    waiting: float
    behind_seconds: float


def keeping_up() -> Kept:
    """Posts batches at full speed to one uvicorn process, with and without a `manage.py maintain` process."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    left, behind = [], []
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        keys, bodies = folder / "keys", folder / "bodies"
        keys.write_text("".join(f"d-{n:04} tlm_{random.getrandbits(192):048x}\n" for n in range(DEVICES)))
        bodies.write_text(SEPARATOR.join(json.dumps([reading() for _ in range(BATCH)]) for _ in range(BODIES)))
        contender = product(folder, keys, {"single": bodies, "batch": bodies, "gateway": bodies}, server="uvicorn")
        for _ in range(ROUNDS):
            for maintained in (False, True):
                contender.prepare()
                with contender.start() as server, maintenance(contender, folder, wanted=maintained):
                    target = contender.targets["batch"]
                    found = load.run(server.url, target, connections=4, seconds=LOAD_SECONDS)
                    assert not found.refused
                    assert not found.failed
                    rates[maintained].append(found.per_second * BATCH)
                    if maintained:
                        left.append(waiting(contender.database))
                        started = time.monotonic()
                        while waiting(contender.database):
                            time.sleep(0.1)
                        behind.append(time.monotonic() - started)
                console.print(f"  maintained: {maintained}: {rates[maintained][-1]:,.0f}/s", left, behind)
        drop_database(contender.database)
    return Kept(median(rates[False]), median(rates[True]), median(left), median(behind))


@contextmanager
def maintenance(contender: Contender, folder: Path, *, wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    environment = ENVIRONMENT | {"DATABASE_URL": f"postgresql://postgres@127.0.0.1/{contender.database}"}
    with (folder / "maintain.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "maintain", "--interval", "1"], cwd=ROOT, env=environment, stdout=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def waiting(database: str) -> int:
    with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={database}") as connection:
        row = connection.execute("SELECT sum(last_seq - rolled_up_seq) FROM devices_devicestate").fetchone()
        assert row
        return int(row[0])

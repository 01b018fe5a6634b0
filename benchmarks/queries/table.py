"""Builds the table for the query benchmark: readings in the order of their arrival, rolled up by the product."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.contenders.served import ROOT, create_database
from benchmarks.measuring.servers import Server

PORT = 8740
DATABASE = "bench_queries"
URL = f"postgresql://postgres@127.0.0.1/{DATABASE}"
ADMIN_KEY = "admin-key-of-the-benchmark-0123456789"


class Log(NamedTuple):
    """A kind of device: number of devices, report interval in seconds, days of history."""

    name: str
    devices: int
    interval: int
    days: int

    @property
    def readings(self) -> int:
        return self.devices * self.days * 86_400 // self.interval


class Scale(NamedTuple):
    name: str
    logs: tuple[Log, ...]

    @property
    def readings(self) -> int:
        return sum(log.readings for log in self.logs)


SMALL = Scale("1 million", (Log("fast", 1, 1, 4), Log("minutely", 1, 60, 365), Log("slow", 100, 300, 5)))
# What a comparison reads: the other logs of the large table are behind an index that begins with the device.
COMPARED = Scale("1 million of 100 devices", (Log("slow", 100, 300, 35),))
LARGE = Scale("20 million", (Log("fast", 1, 1, 60), Log("minutely", 10, 60, 365), Log("slow", 950, 300, 35)))


ENVIRONMENT = {
    "ENV_FILE": os.devnull,
    "SECRET_KEY": "secret-key-of-the-benchmark-0123456789-0123456789",
    "API_SECRET_KEY": ADMIN_KEY,
    "PORT": str(PORT),
    "LOG_LEVEL": "WARNING",
    "DATABASE_URL": URL,
    "REDIS_URL": "",
}

FILL = """
INSERT INTO readings_reading (id, device_id, seq, timestamp, temperature, humidity, voltage, extra)
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8'
        || substr(hash, 4, 15))::uuid,
       device_id, n + 1, at, round((21 + 5 * sin(extract(epoch FROM at) / 13751) + noise)::numeric, 2),
       round((45 + noise * 4)::numeric, 1), round((3.9 + noise / 10)::numeric, 3),
       jsonb_build_object('rssi', -60 - (noise * 10)::int)
FROM (
    SELECT name || '-' || number AS device_id, n, begins + n * interval '1 second' * every AS at,
           random() AS noise, md5(random()::text) AS hash
    FROM logs, generate_series(0, devices - 1) AS number,
         generate_series(greatest(0, (extract(epoch FROM %(day)s - begins) / every)::bigint),
                         (extract(epoch FROM %(day)s + interval '1 day' - begins) / every)::bigint - 1) AS n
    WHERE begins < %(day)s + interval '1 day'
    ORDER BY at
) AS made
"""
KEYS = """
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'readings_reading'::regclass AND contype IN ('p', 'u', 'f') ORDER BY contype DESC
"""
INDEXES = """
SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'readings_reading'
AND indexname NOT IN (SELECT conname FROM pg_constraint WHERE conrelid = 'readings_reading'::regclass)
"""
STATES = """
UPDATE devices_devicestate AS state
SET last_seq = log.last_seq, latest_seq = log.last_seq, latest_at = log.latest_at, last_seen_at = log.latest_at
FROM (SELECT device_id, max(seq) AS last_seq, max(timestamp) AS latest_at FROM readings_reading GROUP BY 1) AS log
WHERE state.device_id = log.device_id
"""
SEED = """
from devices.models import Device, DeviceState
names = {names!r}
Device.objects.bulk_create(Device(device_id=name, api_key_hash=name, key_hint="") for name in names)
DeviceState.objects.bulk_create(DeviceState(device_id=name) for name in names)
"""


def manage(*arguments: str) -> str:
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=os.environ | ENVIRONMENT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


@contextmanager
def serve() -> Iterator[Server]:
    """Runs a new `manage.py up` on the table."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "manage.py", "up", "--no-demo"]
        with Server(command, port=PORT, log=Path(folder) / "log", environment=ENVIRONMENT) as server:
            yield server


def build(scale: Scale, end: datetime) -> dict[str, float]:
    """Fills a new database with the readings up to `end`, day by day in the order of arrival, and rolls them up.

    Keys and indexes are dropped before filling and created again. Returns seconds by step, and sizes in megabytes.
    """
    create_database(DATABASE)
    manage("migrate", "--verbosity", "0")
    names = [f"{log.name}-{number}" for log in scale.logs for number in range(log.devices)]
    manage("shell", "--no-imports", "-c", SEED.format(names=names))
    figures: dict[str, float] = {}
    with psycopg.connect(URL, autocommit=True) as connection:
        started = time.monotonic()
        connection.execute("SET TimeZone = 'UTC'; SET synchronous_commit = off; SET work_mem = '256MB'")
        connection.execute("SET maintenance_work_mem = '1GB'")
        keys, indexes = connection.execute(KEYS).fetchall(), connection.execute(INDEXES).fetchall()
        for name, _ in keys:
            connection.execute(f"ALTER TABLE readings_reading DROP CONSTRAINT {name}")
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}")
        connection.execute("CREATE TEMP TABLE logs (name text, devices int, every int, begins timestamptz)")
        for log in scale.logs:
            connection.execute(
                "INSERT INTO logs VALUES (%s, %s, %s, %s)",
                [log.name, log.devices, log.interval, end - timedelta(days=log.days)],
            )
        for back in range(max(log.days for log in scale.logs), 0, -1):
            connection.execute(FILL, {"day": end - timedelta(days=back)})
        for name, definition in keys:
            connection.execute(f"ALTER TABLE readings_reading ADD CONSTRAINT {name} {definition}")
        for _, definition in indexes:
            connection.execute(definition)
        connection.execute(STATES)
        connection.execute(import_module("devices.migrations.0003_latest_values").POSTGRESQL)
        connection.execute("VACUUM ANALYZE")
        figures["fill"] = time.monotonic() - started
    started = time.monotonic()
    said = manage("maintain", "--once").strip()
    while not said.startswith("0 readings"):
        said = manage("maintain", "--once").strip()
    figures["maintain"] = time.monotonic() - started
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        for table in ("readings_reading", "readings_rollup"):
            size = connection.execute("SELECT pg_total_relation_size(%s)", [table]).fetchone()
            count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert size
            assert count
            figures[f"{table} MB"], figures[f"{table} rows"] = size[0] / 1e6, count[0]
    assert figures["readings_reading rows"] == scale.readings
    return figures


def seal() -> float:
    """Seals all readings, and the rollups that are old enough; returns the seconds that it took."""
    manage("maintain", "--once")  # notes that all readings are received
    started = time.monotonic()
    manage("maintain", "--once", "--seal-before", "now")
    seconds = time.monotonic() - started
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        rows = connection.execute("SELECT count(*) FROM readings_reading").fetchone()
        assert rows == (0,), f"{rows} readings are not sealed"
    return seconds

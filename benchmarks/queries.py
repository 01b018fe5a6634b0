"""`make bench-queries`: what a question costs on a million readings and on twenty, beside the alternatives.

python -m benchmarks.queries            about 20 minutes
python -m benchmarks.queries --quick    the smaller table alone, for a first look; writes no document
"""

import argparse
import base64
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import httpx
import psycopg
from rich.console import Console

from benchmarks import report
from benchmarks.contenders.served import INFLUX, ROOT, create_database, drop_database
from benchmarks.servers import Server

PORT = 8740
INFLUX_PORT = 8720
DATABASE = "bench_queries"
URL = f"postgresql://postgres@127.0.0.1/{DATABASE}"
ADMIN_KEY = "admin-key-of-the-benchmark-0123456789"
SAMPLES = 60
SAMPLES_SLOW = 5  # of questions that take a second or more
EXPORTED = 1_000_000
LINES = 20_000

console = Console()


class Log(NamedTuple):
    """A kind of device: how many, how often they report, and since when."""

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
LARGE = Scale("20 million", (Log("fast", 1, 1, 60), Log("minutely", 10, 60, 365), Log("slow", 950, 300, 35)))


class Question(NamedTuple):
    """`seconds` is the window's length, which ends at a random moment of the last hours; no bucket: a total."""

    name: str
    device: str
    seconds: int
    bucket: str | None
    sql_bucket: str | None
    same: bool  # whether the small table holds the same readings in this window


DAY = 86_400
QUESTIONS = [
    Question(f"{device}: {name}", device, seconds, bucket, sql_bucket, same or device == "minutely-0")
    for device in ("fast-0", "minutely-0")
    for name, seconds, bucket, sql_bucket, same in (
        ("24 h, auto", DAY, "auto", "5 minutes", True),
        ("7 d, auto", 7 * DAY, "auto", "30 minutes", False),
        ("30 d, auto", 30 * DAY, "auto", "2 hours", False),
        ("1 year, auto", 365 * DAY, "auto", "1 day", False),
        ("one day at 1 m", DAY, "1m", "1 minute", True),
        ("24 h, total", DAY, None, None, True),
        ("1 year, total", 365 * DAY, None, None, False),
    )
]

METRICS = {
    "temperature": "temperature",
    "humidity": "humidity",
    "voltage": "voltage",
    "rssi": "(extra->>'rssi')::float8",
}


class Timing(NamedTuple):
    p50: float
    p95: float


def timed(ask: Callable[[], object], samples: int) -> Timing:
    """Milliseconds; the first two, which warm caches up, are not counted. Few where one takes long."""
    durations: list[float] = []
    for number in range(samples + 2):
        started = time.perf_counter()
        ask()
        taken = (time.perf_counter() - started) * 1000
        if number >= 2:
            durations.append(taken)
        if taken > 500 and len(durations) >= SAMPLES_SLOW:
            break
    p95 = quantiles(durations, n=20, method="inclusive")[-1] if len(durations) > 1 else durations[0]
    return Timing(median(durations), p95)


# --- The table ----------------------------------------------------------------------------------------------

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


def build(scale: Scale, end: datetime) -> dict[str, float]:
    """Fills a new database with the readings up to `end`, day by day as they would have come in, and rolls them up.

    Its keys are dropped for the filling and made again. Returns what it took: seconds by step, and megabytes.
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


# --- Asking -------------------------------------------------------------------------------------------------


class Windows:
    """Windows of a given length that end at a random moment of the last six hours: no edge is a round one."""

    def __init__(self, end: datetime) -> None:
        self.end, self.chance = end, random.Random(4)

    def of(self, seconds: int) -> tuple[datetime, datetime]:
        end = self.end - timedelta(seconds=self.chance.uniform(0, 6 * 3600))
        return end - timedelta(seconds=seconds), end


def product(end: datetime) -> dict[str, Timing]:
    """Asked over HTTP, of `manage.py up`."""
    windows = Windows(end)
    found: dict[str, Timing] = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "manage.py", "up", "--no-demo"]
        with (
            Server(command, port=PORT, log=Path(folder) / "log", environment=ENVIRONMENT) as server,
            httpx.Client(
                base_url=f"{server.url}/api/v1/devices", headers={"X-API-Key": ADMIN_KEY}, timeout=120
            ) as client,
        ):

            def get(path: str, **query: Any) -> httpx.Response:
                response = client.get(path, params=query)
                assert response.status_code == 200, response.text
                return response

            def depth() -> object:
                back = windows.chance.randrange(86_400, 3 * 86_400)
                at = end - timedelta(seconds=back)
                cursor = base64.urlsafe_b64encode(f"{at.isoformat()} {10**9}".encode()).decode()
                return get("/fast-0/history", cursor=cursor)

            found["fast-0: history, first page"] = timed(lambda: get("/fast-0/history"), SAMPLES)
            found["fast-0: history, page at depth"] = timed(depth, SAMPLES)
            for question in QUESTIONS:

                def ask(question: Question = question) -> object:
                    start, until = windows.of(question.seconds)
                    query = {"start": start.isoformat(), "end": until.isoformat()}
                    return get(
                        f"/{question.device}/aggregate",
                        **query,
                        **({"bucket": question.bucket} if question.bucket else {}),
                    )

                found[question.name] = timed(ask, SAMPLES)
    return found


def plain_sql(end: datetime) -> dict[str, Timing]:
    """One statement over the raw readings, through psycopg."""
    windows = Windows(end)
    found: dict[str, Timing] = {}
    figures = ", ".join(f"{f}({value})" for value in METRICS.values() for f in ("count", "sum", "min", "max"))
    with psycopg.connect(URL, autocommit=True) as connection:
        for question in QUESTIONS:
            bucket = f"date_bin('{question.sql_bucket}', timestamp, '2000-01-01')" if question.sql_bucket else "1"
            sql = (
                f"SELECT {bucket}, {figures} FROM readings_reading "
                "WHERE device_id = %s AND timestamp >= %s AND timestamp < %s GROUP BY 1 ORDER BY 1"
            )

            def ask(question: Question = question, sql: str = sql) -> object:
                return connection.execute(sql, [question.device, *windows.of(question.seconds)]).fetchall()

            found[question.name] = timed(ask, SAMPLES)
    return found


@contextmanager
def influxdb(folder: Path) -> Iterator[str]:
    """The same readings in InfluxDB, sent as line protocol that PostgreSQL writes."""
    (folder / "influxdb.conf").write_text(INFLUX.format(folder=folder))
    command = ["influxd", "-config", str(folder / "influxdb.conf")]
    with Server(command, port=INFLUX_PORT, log=folder / "log", environment={"HOME": str(folder)}) as server:

        def post(path: str, body: bytes) -> None:
            with urllib.request.urlopen(urllib.request.Request(server.url + path, body, method="POST")) as response:
                assert response.status in (200, 204)

        time.sleep(2)
        post("/query?q=CREATE+DATABASE+bench", b"")
        select = (
            "SELECT 'reading,device=' || device_id || ' temperature=' || temperature || ',humidity=' || humidity || "
            "',voltage=' || voltage || ',rssi=' || (extra->>'rssi') || ' ' || extract(epoch FROM timestamp)::bigint "
            "FROM readings_reading"
        )
        with psycopg.connect(URL) as connection, connection.cursor().copy(f"COPY ({select}) TO STDOUT") as copy:
            lines: list[bytes] = []
            for block in copy:
                lines.append(bytes(block))
                if len(lines) >= LINES:
                    post("/write?db=bench&precision=s", b"".join(lines))
                    lines.clear()
            if lines:
                post("/write?db=bench&precision=s", b"".join(lines))
        yield server.url


def influxql(url: str, end: datetime) -> dict[str, Timing]:
    windows = Windows(end)
    found: dict[str, Timing] = {}
    figures = ", ".join(f'{f}("{name}")' for name in METRICS for f in ("count", "sum", "min", "max"))
    with httpx.Client(base_url=url, timeout=300) as client:
        for question in QUESTIONS:
            units = {"5 minutes": "5m", "30 minutes": "30m", "2 hours": "2h", "1 day": "1d", "1 minute": "1m"}
            grouping = f" GROUP BY time({units[question.sql_bucket]}) fill(none)" if question.sql_bucket else ""

            def ask(question: Question = question, grouping: str = grouping) -> object:
                start, until = (moment.isoformat().replace("+00:00", "Z") for moment in windows.of(question.seconds))
                text = (
                    f"SELECT {figures} FROM reading WHERE device = '{question.device}' "
                    f"AND time >= '{start}' AND time < '{until}'{grouping}"
                )
                response = client.get("/query", params={"db": "bench", "q": text})
                assert "series" in response.json()["results"][0], response.text[:300]
                return response

            found[question.name] = timed(ask, SAMPLES)
    return found


def export(end: datetime) -> dict[str, float]:
    """A million rows as CSV, from a server just started: seconds to the first byte, in all, and MB over idle."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "manage.py", "up", "--no-demo"]
        with Server(command, port=PORT, log=Path(folder) / "log", environment=ENVIRONMENT) as server:
            headers = {"X-API-Key": ADMIN_KEY}
            httpx.get(f"{server.url}/api/v1/devices/fast-0/history", headers=headers, params={"limit": 1})
            idle = server.peak_memory_mb()
            start = (end - timedelta(seconds=EXPORTED)).isoformat()
            query = urllib.parse.urlencode({"format": "csv", "start": start, "end": end.isoformat()})
            started = time.perf_counter()
            first, lines = 0.0, 0
            with httpx.stream(
                "GET", f"{server.url}/api/v1/devices/fast-0/history?{query}", headers=headers, timeout=60
            ) as response:
                for part in response.iter_raw():
                    first = first or time.perf_counter() - started
                    lines += part.count(b"\n")
            taken = time.perf_counter() - started
            return {
                "first byte s": first,
                "s": taken,
                "rows": lines - 1,
                "MB over idle": server.peak_memory_mb() - idle,
            }


# --- The report ---------------------------------------------------------------------------------------------


class Round(NamedTuple):
    """All that was measured on one table."""

    scale: Scale
    figures: dict[str, float]
    product: dict[str, Timing]
    plain: dict[str, Timing]
    influx: dict[str, Timing]


def measure(scale: Scale, end: datetime) -> Round:
    console.print(f"[bold]{scale.name}[/]: filling {scale.readings:,} readings")
    figures = build(scale, end)
    console.print({name: round(value, 1) for name, value in figures.items()})
    asked = product(end)
    plain = plain_sql(end)
    for name, timing in asked.items():
        console.print(f"{name:32} p50 {timing.p50:6.1f}  p95 {timing.p95:6.1f} ms", plain.get(name))
    influx: dict[str, Timing] = {}
    if shutil.which("influxd"):
        with tempfile.TemporaryDirectory() as folder, influxdb(Path(folder)) as url:
            influx = influxql(url, end)
    return Round(scale, figures, asked, plain, influx)


def document(small: Round, large: Round, exported: dict[str, float]) -> str:
    same = {question.name for question in QUESTIONS if question.same} | {
        name for name in large.product if "history" in name
    }
    lines = [
        "## Questions",
        "",
        f"`make bench-queries`, {datetime.now(UTC):%Y-%m-%d}: milliseconds over HTTP, asked of `manage.py up` (daphne) "
        f"on PostgreSQL, {SAMPLES} times each, one after the other; windows end at random moments. Plain SQL is one "
        "statement over the raw readings (`date_bin`) through psycopg, without HTTP. Every answer has four metrics "
        "with count, sum, minimum and maximum.",
        "",
        report.machine(),
        "",
        *(table_of(measured) for measured in (small, large)),
        "",
        "| | 1 million: p50, p95 | 20 million: p50, p95 | p95 to p95 | plain SQL p50 | to plain SQL | InfluxDB p50 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, timing in large.product.items():
        before = small.product[name]
        growth = f"{timing.p95 / before.p95:.2f}" if name in same else "other data"
        plain = large.plain.get(name)
        influx = large.influx.get(name)
        cells = [
            name,
            f"{before.p50:.1f}, {before.p95:.1f}",
            f"{timing.p50:.1f}, **{timing.p95:.1f}**",
            growth,
            f"{plain.p50:,.0f}" if plain else "",
            f"{plain.p50 / timing.p50:,.0f} times quicker" if plain else "",
            f"{influx.p50:,.0f}" if influx else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        '"Other data": in the smaller table the log is shorter than the window, so the two cannot be compared.',
        "",
        f"Export: {exported['rows']:,.0f} rows as CSV: first byte after {exported['first byte s'] * 1000:.0f} ms, all "
        f"after {exported['s']:.1f} s, and {exported['MB over idle']:.1f} MB of memory over idle at the most.",
    ]
    return "\n".join(lines)


def table_of(measured: Round) -> str:
    figures = measured.figures
    logs = ", ".join(
        f"{log.devices} {log.name} (every {log.interval} s for {log.days} days)" for log in measured.scale.logs
    )
    readings, rollups = figures["readings_reading rows"], figures["readings_rollup rows"]
    return (
        f"- {measured.scale.name}: {readings:,.0f} readings, {figures['readings_reading MB']:,.0f} MB with keys; "
        f"devices: {logs}. Filled in {figures['fill']:.0f} s. Rolled up in {figures['maintain']:.0f} s "
        f"({figures['maintain'] / readings * 1e6:.1f} µs a reading) into {rollups:,.0f} rollups, "
        f"{figures['readings_rollup MB']:,.0f} MB."
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="the smaller table alone; writes no document")
    arguments.add_argument("--keep", action="store_true", help=f"keep the database {DATABASE}")
    options = arguments.parse_args()
    # The last whole hour: windows end in the past, so the answers do not hang on the moment.
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    try:
        small = measure(SMALL, end)
        if options.quick:
            console.print(export(end))
            return
        large = measure(LARGE, end)
        exported = export(end)
        console.print(exported)
        report.write("queries", document(small, large, exported))
    finally:
        if not options.keep:
            drop_database(DATABASE)


if __name__ == "__main__":
    main()

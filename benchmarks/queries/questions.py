"""The queries, sent to the product over HTTP, to PostgreSQL as plain SQL on the readings, and to InfluxDB."""

import base64
import random
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import httpx
import psycopg

from benchmarks.contenders.served import INFLUX
from benchmarks.measuring.servers import Server
from benchmarks.queries.table import ADMIN_KEY, URL, serve

INFLUX_PORT = 8720
SAMPLES = 60
SAMPLES_SLOW = 5  # of queries that take a second or more
LINES = 20_000


class Question(NamedTuple):
    """A query. `seconds` is the length of its window, which ends at a random time; `bucket` None asks for a total."""

    name: str
    device: str
    seconds: int
    bucket: str | None
    sql_bucket: str | None
    same: bool  # whether the small table has the same readings in this window


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


class Comparison(NamedTuple):
    """One metric of several devices in the same buckets. `devices`: of those that report every 300 s."""

    name: str
    devices: list[str]
    seconds: int
    sql_bucket: str


COMPARISONS = [
    Comparison(f"{count} devices, 1 metric: 30 d, auto", [f"slow-{n}" for n in range(count)], 30 * DAY, "2 hours")
    for count in (20, 100)
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
    """Times in ms, without the first two requests, which warm up caches. Slow queries get SAMPLES_SLOW samples."""
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


class Windows:
    """Windows of a given length that end at a random moment of the last six hours, so that edges are not round."""

    def __init__(self, end: datetime) -> None:
        self.end, self.chance = end, random.Random(4)

    def of(self, seconds: int) -> tuple[datetime, datetime]:
        end = self.end - timedelta(seconds=self.chance.uniform(0, 6 * 3600))
        return end - timedelta(seconds=seconds), end


def product(end: datetime) -> dict[str, Timing]:
    """Times over HTTP, from `manage.py up`."""
    windows = Windows(end)
    found: dict[str, Timing] = {}
    with (
        serve() as server,
        httpx.Client(base_url=f"{server.url}/api/v1/devices", headers={"X-API-Key": ADMIN_KEY}, timeout=120) as client,
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
                bucket = {"bucket": question.bucket} if question.bucket else {}
                return get(f"/{question.device}/aggregate", start=start.isoformat(), end=until.isoformat(), **bucket)

            found[question.name] = timed(ask, SAMPLES)
        found |= compared(client, server.url, windows)
    return found


def comparisons(end: datetime) -> dict[str, Timing]:
    """Times of the comparisons alone."""
    with serve() as server, httpx.Client(headers={"X-API-Key": ADMIN_KEY}, timeout=120) as client:
        return compared(client, server.url, Windows(end))


def compared(client: httpx.Client, url: str, windows: Windows) -> dict[str, Timing]:
    found: dict[str, Timing] = {}
    for comparison in COMPARISONS:

        def compare(comparison: Comparison = comparison) -> object:
            start, until = windows.of(comparison.seconds)
            names: dict[str, Any] = {"device_id": comparison.devices, "metrics": "temperature", "bucket": "auto"}
            response = client.get(f"{url}/api/v1/aggregate", params=names | window_of(start, until))
            assert response.status_code == 200, response.text
            return response

        found[comparison.name] = timed(compare, SAMPLES)
    return found


def window_of(start: datetime, end: datetime) -> dict[str, str]:
    return {"start": start.isoformat(), "end": end.isoformat()}


def plain_sql(end: datetime) -> dict[str, Timing]:
    """Times of one statement over the raw readings, through psycopg."""
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
        for comparison in COMPARISONS:
            sql = (
                f"SELECT device_id, date_bin('{comparison.sql_bucket}', timestamp, '2000-01-01'), count(temperature), "
                "sum(temperature), min(temperature), max(temperature) FROM readings_reading "
                "WHERE device_id = ANY(%s) AND timestamp >= %s AND timestamp < %s GROUP BY 1, 2 ORDER BY 1, 2"
            )

            def compare(comparison: Comparison = comparison, sql: str = sql) -> object:
                return connection.execute(sql, [comparison.devices, *windows.of(comparison.seconds)]).fetchall()

            found[comparison.name] = timed(compare, SAMPLES)
    return found


@contextmanager
def influxdb(folder: Path) -> Iterator[str]:
    """Runs an InfluxDB with the same readings, which PostgreSQL exports as line protocol."""
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

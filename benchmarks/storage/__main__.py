"""`make bench-storage`: bytes per reading and times of answers, of the same readings as rows and sealed.

python -m benchmarks.storage                 a year of 5 devices, on PostgreSQL and SQLite, and those of InfluxDB and
                                             VictoriaMetrics (in Debian) that are installed
python -m benchmarks.storage --devices 100   more devices
python -m benchmarks.storage --quick         a year of one device; writes no document
python -m benchmarks.storage --only sqlite --ids server    a part; writes no document
"""

import argparse
import base64
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple

import httpx
from rich.console import Console

from benchmarks.measuring import report
from benchmarks.storage.filling import LATE, readings
from benchmarks.storage.others import influxdb, victoriametrics
from benchmarks.storage.stores import ADMIN_KEY, Store, postgresql, sqlite

console = Console()
SAMPLES = 100
DAY = 86_400
OTHERS = {
    "InfluxDB 1.6 (TSM files), no ids": influxdb,
    "VictoriaMetrics 1.79 (all files; times in milliseconds), no ids": victoriametrics,
}
RANGES = {"1 h": 3_600, "24 h": DAY, "30 d": 30 * DAY, "1 year": 364 * DAY}
DEVICE = "/api/v1/devices/sensor-0"


class Scale(NamedTuple):
    devices: int
    days: int

    @property
    def readings(self) -> int:
        return self.devices * self.days * 1440


class Form(NamedTuple):
    """Readings as rows or sealed: bytes of each table, and milliseconds of answers (p50, p95; a CSV: its seconds)."""

    sizes: dict[str, float]
    times: dict[str, tuple[float, float]]
    csv_seconds: float


class Measured(NamedTuple):
    store: str
    client_ids: bool
    rows: Form
    sealed: Form
    sealing_seconds: float


def answers(store: Store, folder: Path, end: datetime, scale: Scale) -> tuple[dict[str, tuple[float, float]], float]:
    """Times of pages anywhere in the log, of `auto` buckets of windows that end anywhere, and of a CSV of all."""
    chance = random.Random(3)
    found: dict[str, tuple[float, float]] = {}
    with (
        store.served(folder) as server,
        httpx.Client(
            base_url=server.url, headers={"X-API-Key": ADMIN_KEY, "Accept-Encoding": "identity"}, timeout=300
        ) as client,
    ):

        def get(path: str, **query: Any) -> None:
            response = client.get(DEVICE + path, params=query)
            assert response.status_code == 200, response.text

        def page() -> None:
            at = end - timedelta(days=chance.uniform(1, scale.days))
            get("/history", cursor=base64.urlsafe_b64encode(f"{at.isoformat()} {10**9}".encode()).decode())

        found["page of history at any depth"] = timed(page)
        for name, seconds in RANGES.items():

            def ask(seconds: int = seconds) -> None:
                until = end - timedelta(seconds=chance.uniform(0, max(0, scale.days * DAY - seconds)))
                start = until - timedelta(seconds=seconds)
                get("/aggregate", start=start.isoformat(), end=until.isoformat(), bucket="auto")

            found[f"{name}, auto"] = timed(ask)
        started = time.perf_counter()
        lines = 0
        with client.stream("GET", f"{DEVICE}/history", params={"format": "csv", "order": "asc"}) as response:
            for part in response.iter_raw():
                lines += part.count(b"\n")
        taken = time.perf_counter() - started
        assert lines == scale.days * 1440 + 1, lines
    return found, taken


def timed(ask: Callable[[], None]) -> tuple[float, float]:
    durations = []
    for number in range(SAMPLES + 2):
        started = time.perf_counter()
        ask()
        if number >= 2:  # the first ones fill caches
            durations.append((time.perf_counter() - started) * 1000)
    return median(durations), quantiles(durations, n=20, method="inclusive")[-1]


def measure(store: Store, folder: Path, end: datetime, scale: Scale, *, client_ids: bool) -> Measured:
    ids = "clients" if client_ids else "the server"
    console.print(f"[bold]{store.name}[/]: {scale.readings:,} readings, ids of {ids}")
    store.fill(end, devices=scale.devices, days=scale.days, client_ids=client_ids)
    rows = Form(store.sizes(), *answers(store, folder, end, scale))
    console.print("rows", rows)
    seconds = store.seal()
    sealed = Form(store.sizes(), *answers(store, folder, end, scale))
    console.print(f"sealed in {seconds:.0f} s", sealed)
    return Measured(store.name, client_ids, rows, sealed, seconds)


def lines_of(end: datetime, scale: Scale) -> Iterator[bytes]:
    """The readings in InfluxDB's line protocol, with times in microseconds."""
    for number in range(scale.devices):
        device_id = f"sensor-{number}"
        for reading in readings(device_id, end=end, days=scale.days, client_ids=False):
            fields = f"temperature={reading.temperature},humidity={reading.humidity},voltage={reading.voltage}"
            micros = (reading.timestamp - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            yield f"reading,device={device_id} {fields},rssi={reading.extra['rssi']} {micros}\n".encode()


def document(found: list[Measured], others: dict[str, float | None], scale: Scale) -> str:
    each = scale.readings
    lines = [
        "## Storage",
        "",
        f"`make bench-storage`, {datetime.now(UTC):%Y-%m-%d}: {scale.devices} devices, {scale.days} days, a reading a "
        f"minute with the jitter of a network, {LATE:.0%} of them two hours late, four metrics: {each:,} readings. "
        "Bytes per reading with all indexes, after `VACUUM FULL` or `VACUUM`; all readings are sealed, so there are no "
        "rows of the last two days beside. The rollups of the last 7 to 17 days are rows. Answers are milliseconds "
        "over HTTP from `manage.py up`, p50 and p95 of "
        f"{SAMPLES} at random times; the CSV is one device's whole log.",
        "",
        report.machine(),
        "",
        "| store, ids | as rows | sealed | of which ids noted for 35 days | rollups as rows | rollups sealed | "
        "sealed in µs a reading |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in found:
        rows = one.rows.sizes.get("readings_reading", one.rows.sizes.get("file", 0)) / each
        noted = one.sealed.sizes.get("readings_sealedid", 0) / each
        names = ("readings_reading", "readings_segment", "readings_sealedid", "file")
        sealed = sum(one.sealed.sizes.get(name, 0) for name in names) / each
        rollups = one.rows.sizes.get("readings_rollup", 0) / each
        blocks = sum(one.sealed.sizes.get(name, 0) for name in ("readings_rollup", "readings_rollupblock")) / each
        micros = one.sealing_seconds / each * 1e6
        ids = "of clients" if one.client_ids else "of the server"
        lines.append(
            f"| {one.store}, {ids} | {rows:.0f} | {sealed:.1f} | {noted:.1f} | {rollups:.1f} | "
            f"{blocks:.1f} | {micros:.1f} |"
        )
    lines += [f"| {name} | | {size / each:.1f} | | | | |" for name, size in others.items() if size is not None]
    lines += ["", "| store, ids | answer | rows p50, p95 | sealed p50, p95 |", "| --- | --- | ---: | ---: |"]
    for one in found:
        ids = "of clients" if one.client_ids else "of the server"
        for name, (p50, p95) in one.rows.times.items():
            now50, now95 = one.sealed.times[name]
            lines.append(f"| {one.store}, {ids} | {name} | {p50:.1f}, {p95:.1f} | {now50:.1f}, **{now95:.1f}** |")
        ratio = one.rows.csv_seconds / one.sealed.csv_seconds
        lines.append(
            f"| {one.store}, {ids} | CSV of {scale.days * 1440:,} rows | {one.rows.csv_seconds:.1f} s | "
            f"{one.sealed.csv_seconds:.1f} s ({ratio:.1f} times as fast) |"
        )
    return "\n".join(lines)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--devices", type=int, default=5)
    arguments.add_argument("--days", type=int, default=365)
    arguments.add_argument("--only", choices=["postgresql", "sqlite", "others"], help="one of them; write no document")
    arguments.add_argument("--ids", choices=["server", "clients"], help="only with ids of these; write no document")
    arguments.add_argument("--quick", action="store_true", help="one device; write no document")
    options = arguments.parse_args()
    scale = Scale(1 if options.quick else options.devices, options.days)
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    found: list[Measured] = []
    for client_ids in {"server": [False], "clients": [True], None: [False, True]}[options.ids]:
        with tempfile.TemporaryDirectory() as folder:
            if options.only in ("postgresql", None):
                with postgresql() as store:
                    found.append(measure(store, Path(folder), end, scale, client_ids=client_ids))
            if options.only in ("sqlite", None):
                found.append(measure(sqlite(Path(folder)), Path(folder), end, scale, client_ids=client_ids))
    others: dict[str, float | None] = {}
    for name, measured in OTHERS.items() if options.only in ("others", None) else ():
        with tempfile.TemporaryDirectory() as folder:
            others[name] = measured(Path(folder), lines_of(end, scale))
    text = document(found, others, scale)
    if options.quick or options.only or options.ids:
        console.print(text)
    else:
        report.write("storage", text)


if __name__ == "__main__":
    main()

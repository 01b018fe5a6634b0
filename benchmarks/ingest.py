"""`make bench-ingest`: measures ingest and its alternatives in one run on one machine.

python -m benchmarks.ingest            about 14 minutes
python -m benchmarks.ingest --quick    4 minutes, one round, for a first look; writes no document
"""

import argparse
import json
import random
import shutil
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import psycopg
from rich.console import Console

from benchmarks.contenders import copying
from benchmarks.contenders.served import (
    Contender,
    bare,
    bolt,
    drop_database,
    fastapi,
    influxdb,
    obvious,
    product,
)
from benchmarks.measuring import load, report

DEVICES = 1000
BATCH = 1000
# Different bodies to post: enough that InfluxDB is not sent the same points over and over.
BODIES = 64
WARM_UP_SECONDS = 2
WORKLOADS = {
    "single, 32": ("single", 32),
    "single, 256": ("single", 256),
    "batch": ("batch", 4),
    "gateway": ("gateway", 4),
}
SEPARATOR = "\x1e"

console = Console()


def reading(**more: object) -> dict[str, object]:
    return {
        **more,
        "temperature": round(random.gauss(21, 2), 2),
        "humidity": round(random.gauss(45, 5), 1),
        "voltage": round(random.gauss(3.9, 0.1), 3),
        "rssi": random.randint(-90, -40),
    }


def line(device: str, timestamp: int | str) -> str:
    fields = ",".join(f"{name}={value}{'i' if name == 'rssi' else ''}" for name, value in reading().items())
    return f"reading,device={device} {fields} {timestamp}"


def write_bodies(folder: Path, names: list[str]) -> dict[str, Path]:
    """Writes a file of request bodies for each workload; returns the files by workload."""
    now = time.time_ns()

    def lines(devices: list[str]) -> str:
        start = now - random.randrange(10**15)
        return "\n".join(line(device, start + n) for n, device in enumerate(devices))

    texts = {
        "single": [json.dumps(reading()) for _ in range(BODIES)],
        "batch": [json.dumps([reading() for _ in range(BATCH)]) for _ in range(BODIES)],
        "gateway": [
            json.dumps([reading(device_id=name) for name in random.choices(names, k=BATCH)]) for _ in range(BODIES)
        ],
        "influx single": [line(random.choice(names), now - random.randrange(10**15)) for _ in range(100 * BODIES)],
        "influx batch": [lines([random.choice(names)] * BATCH) for _ in range(BODIES)],
        "influx gateway": [lines(random.choices(names, k=BATCH)) for _ in range(BODIES)],
    }
    paths = {}
    for workload, bodies in texts.items():
        paths[workload] = folder / workload.replace(" ", "-")
        paths[workload].write_text(SEPARATOR.join(bodies))
    return paths


def verify(database: str) -> None:
    """Checks that every log is dense and as long as its device's state says. Raises AssertionError."""
    query = """
        SELECT count(*) FROM devices_devicestate AS state WHERE state.last_seq <>
            (SELECT count(*) FROM readings_reading AS r WHERE r.device_id = state.device_id)
            OR state.last_seq <> (SELECT coalesce(max(seq), 0) FROM readings_reading AS r
                                  WHERE r.device_id = state.device_id)
    """
    with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={database}") as connection:
        (wrong,) = connection.execute(query).fetchone() or (None,)
    assert wrong == 0, f"{wrong} logs of {database} are not what was stored"


def measure(contender: Contender, results: report.Results, *, seconds: int) -> None:
    with contender.start() as server:
        if contender.name.startswith("InfluxDB"):
            urllib.request.urlopen(f"{server.url}/query", data=b"q=CREATE DATABASE bench").read()
        load.run(server.url, contender.targets["single"], connections=32, seconds=WARM_UP_SECONDS)
        for label, (workload, connections) in WORKLOADS.items():
            if workload not in contender.targets:
                continue
            found = load.run(server.url, contender.targets[workload], connections=connections, seconds=seconds)
            assert not found.refused and not found.failed, f"{contender.name}, {label}: {found}"
            size = 1 if workload == "single" else BATCH
            results[contender.name][label].append(
                report.Measured(found.per_second * size, found.p50_ms, found.p99_ms, server.peak_memory_mb())
            )
            console.print(f"  {contender.name}: {label}: {found.per_second * size:,.0f}/s, p99 {found.p99_ms:.0f} ms")
    if contender.database:
        verify(contender.database)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest")
    parser.add_argument("--quick", action="store_true", help="run one short round and write no document")
    options = parser.parse_args()
    rounds, seconds = (1, 2) if options.quick else (3, 5)
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    results: report.Results = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        names = [f"d-{number:04}" for number in range(DEVICES)]
        keys = folder / "keys"
        keys.write_text("".join(f"{name} tlm_{random.getrandbits(192):048x}\n" for name in names))
        bodies = write_bodies(folder, names)
        contenders = [
            product(folder, keys, bodies, server="daphne"),
            product(folder, keys, bodies, server="uvicorn"),
            product(folder, keys, bodies, server="Granian"),
            obvious(folder, keys, bodies),
            bolt(folder, keys, bodies),
            fastapi(folder, keys, bodies),
            product(folder, keys, bodies, server="daphne", sqlite=True),
            obvious(folder, keys, bodies, sqlite=True),
            *(bare(folder, keys, bodies, server=server) for server in ("daphne", "uvicorn", "Granian")),
        ]
        if shutil.which("influxd"):
            contenders.append(influxdb(folder, keys, bodies))
        for contender in contenders:
            contender.prepare()
        copied = product(folder, keys, bodies, server="copied")
        copied.prepare()
        rows = copying.Rows(names)
        for number in range(rounds):
            console.print(f"Round {number + 1} of {rounds}")
            for contender in contenders:
                measure(contender, results, seconds=seconds)
            for connections in (1, 4):
                for label in ("batch", "gateway"):
                    rate = copying.readings_per_second(
                        copied.database, rows, gateway=label == "gateway", connections=connections, batches=30 * seconds
                    )
                    name = f"raw COPY, {connections} connection{'s' if connections > 1 else ''}"
                    results[name][label].append(report.Measured(rate, None, None, None))
                    console.print(f"  {name}: {label}: {rate:,.0f}/s")
        for contender in [*contenders, copied]:
            if contender.database:
                drop_database(contender.database)
        for name in ("bench_obvious", "bench_fastapi", "bench_bolt"):
            drop_database(name)
    text = report.ingest(results, contenders, rounds=rounds, seconds=seconds)
    console.print(text, markup=False)
    if not options.quick:
        report.write("ingest", text)


if __name__ == "__main__":
    main()

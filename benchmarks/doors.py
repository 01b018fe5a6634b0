"""`make bench-doors`: line protocol against JSON batches in one run on one machine, and InfluxDB if it is installed.

python -m benchmarks.doors             about five minutes
python -m benchmarks.doors --quick     one short round; writes no document
"""

import argparse
import json
import random
import shutil
import statistics
import tempfile
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

from rich.console import Console

from benchmarks.contenders.served import Contender, drop_database, influxdb, product
from benchmarks.ingest import BATCH, BODIES, DEVICES, SEPARATOR, line, reading, verify
from benchmarks.measuring import load, report
from benchmarks.measuring.load import Target

CONNECTIONS = 4
WRITE = "/api/v2/write"
GOAL = 0.7
# The workload in lines of protocol, and the one in JSON with which it is compared.
PAIRS = {"lines of one device each": "batch", "lines of a gateway": "gateway"}

console = Console()
Rates = dict[tuple[str, str], list[float]]


def write_bodies(folder: Path, names: list[str]) -> dict[str, Path]:
    """Bodies in JSON and in lines. Each line has a time of its own, later than those of the requests before, as clients
    send them: milliseconds for which "$" stands, and nanoseconds.
    """

    def lines(devices: list[str]) -> str:
        return "\n".join(line(device, f"${n:06}") for n, device in enumerate(devices))

    texts = {
        "batch": [json.dumps([reading() for _ in range(BATCH)]) for _ in range(BODIES)],
        "gateway": [
            json.dumps([reading(device_id=name) for name in random.choices(names, k=BATCH)]) for _ in range(BODIES)
        ],
        "lines of one device each": [lines(["any"] * BATCH) for _ in range(BODIES)],
        "lines of a gateway": [lines(random.choices(names, k=BATCH)) for _ in range(BODIES)],
        "single": [json.dumps(reading())],
    }
    paths = {}
    for workload, bodies in texts.items():
        paths[workload] = folder / workload.replace(" ", "-")
        paths[workload].write_text(SEPARATOR.join(bodies))
    return paths


def measure(contender: Contender, rates: Rates, *, seconds: int) -> None:
    with contender.start() as server:
        if contender.name.startswith("InfluxDB"):
            urllib.request.urlopen(f"{server.url}/query", data=b"q=CREATE DATABASE bench").read()
        for workload, target in contender.targets.items():
            found = load.run(server.url, target, connections=CONNECTIONS, seconds=seconds)
            assert not found.refused and not found.failed, f"{contender.name}, {workload}: {found}"
            rates[contender.name, workload].append(found.per_second * BATCH)
            console.print(f"  {contender.name}: {workload}: {found.per_second * BATCH:,.0f}/s")
    if contender.database:
        verify(contender.database)


def document(rates: Rates, *, rounds: int, seconds: int) -> str:
    medians = {key: statistics.median(found) for key, found in rates.items()}
    text = [
        "## Doors",
        "",
        f"`make bench-doors`, {time.strftime('%Y-%m-%d')}: medians of {rounds} rounds of {seconds} s each, batches of "
        f"{BATCH:,} lines or readings with four metrics, {CONNECTIONS} connections, {DEVICES:,} devices, PostgreSQL "
        f"with fsync. The goal is line protocol at {GOAL} of the JSON batch or better. Every line has a time, so each "
        "reading gets a derived id, which is looked up; the readings of the JSON batches have no ids.",
        "",
        "| | readings/s | of JSON | goal |",
        "| --- | ---: | ---: | --- |",
    ]
    for (name, workload), rate in medians.items():
        ratio = rate / medians[name, PAIRS[workload]] if (name, PAIRS.get(workload, "")) in medians else None
        verdict = "" if ratio is None else "reached" if ratio >= GOAL else "not reached"
        label = workload if workload.startswith("lines") else f"JSON, {workload}"
        text.append(f"| {name}, {label} | {rate:,.0f} | {f'{ratio:.2f}' if ratio else ''} | {verdict} |")
    if not shutil.which("influxd"):
        text += ["", "InfluxDB was not installed in this run."]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.doors")
    parser.add_argument("--quick", action="store_true", help="run one short round and write no document")
    options = parser.parse_args()
    rounds, seconds = (1, 3) if options.quick else (5, 5)
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    rates: Rates = defaultdict(list)
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        names = [f"d-{number:04}" for number in range(DEVICES)]
        keys = folder / "keys"
        keys.write_text("".join(f"{name} tlm_{random.getrandbits(192):048x}\n" for name in names))
        bodies = write_bodies(folder, names)
        contenders = [product(folder, keys, bodies, server=server) for server in ("daphne", "uvicorn")]
        for contender in contenders:
            gateway = contender.targets["gateway"].keys
            del contender.targets["single"]
            for workload, owners in (("lines of one device each", keys), ("lines of a gateway", gateway)):
                contender.targets[workload] = Target(WRITE, owners, bodies[workload], "text/plain")
        if shutil.which("influxd"):
            beside = influxdb(folder, keys, bodies | {f"influx {w}": bodies[f] for w, f in INFLUX.items()})
            beside.targets = {f: beside.targets[w] for w, f in INFLUX.items() if w != "single"}
            contenders.append(beside)
        else:
            console.print("InfluxDB is not installed (influxd): skipped.")
        for contender in contenders:
            contender.prepare()
        for number in range(rounds):
            console.print(f"Round {number + 1} of {rounds}")
            for contender in contenders:
                measure(contender, rates, seconds=seconds)
        for contender in contenders:
            if contender.database:
                drop_database(contender.database)
    text = document(rates, rounds=rounds, seconds=seconds)
    console.print(text)
    if not options.quick:
        report.write("doors", text)


# The workloads of the contender InfluxDB, and the files of lines that they send here.
INFLUX = {"single": "lines of one device each", "batch": "lines of one device each", "gateway": "lines of a gateway"}


if __name__ == "__main__":
    main()

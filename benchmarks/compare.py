"""`make bench-compare BEFORE=DIR`: compares the CPU time per reading of two checkouts of the product.

python -m benchmarks.compare --before DIR                 about 50 minutes
python -m benchmarks.compare --before DIR --quick         one short pair, for a first look
python -m benchmarks.compare --before DIR --only live     one part

The two are measured in turn, so that other load on the machine affects both.
"""

import argparse
import json
import random
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

import psycopg
import uvloop
from rich.console import Console

from benchmarks import doors
from benchmarks.contenders.served import FLEET_KEY, ROOT
from benchmarks.ingest import BATCH, DEVICES, reading, write_bodies
from benchmarks.live.watchers import Audience, Poster
from benchmarks.measuring import load, mqtt_load
from benchmarks.measuring.checkouts import Checkout, Stack
from benchmarks.measuring.cpu import Cpu, database_seconds, ended_children_seconds, used
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.redis_server import Redis

PARTS = ("single", "batch", "gateway", "lines", "lines of a gateway", "maintenance", "live", "mqtt")
LABELS = {
    "single": "single readings, 32 connections",
    "batch": f"batches of {BATCH:,} of one device",
    "gateway": f"batches of {BATCH:,} over {DEVICES:,} devices",
    "lines": f"line protocol, {BATCH:,} lines of one device",
    "lines of a gateway": f"line protocol, {BATCH:,} lines over {DEVICES:,} devices",
    "maintenance": "rolling up, each reading",
    "live": "live, 100 sockets, each delivered reading",
    "mqtt": "MQTT with QoS 1, single readings, 32 connections",
}
CONNECTIONS = {"single": 32, "batch": 4, "gateway": 4, "lines": 4, "lines of a gateway": 4}
SERVERS = ("uvicorn", "daphne", "mqtt")
WARM_UP_SECONDS = 2
# Seconds after the load in which requests that were running are stored.
SETTLE_SECONDS = 0.5
SOCKETS, RATE = 100, 40
# The largest acceptable ratio of CPU time after a change to that before.
RATIO_MAX = 1.05

console = Console()

# By part and stack: one pair (before, after) of Cpu, in µs per reading, for each round.
Results = dict[tuple[str, str], list[tuple[Cpu, Cpu]]]


class Measuring:
    """Applies the load and measures CPU time."""

    def __init__(self, folder: Path, *, seconds: int, parts: tuple[str, ...]) -> None:
        self.seconds, self.parts = seconds, parts
        names = [f"d-{number:04}" for number in range(DEVICES)]
        keys = {name: f"tlm_{random.getrandbits(192):048x}" for name in names}
        self.key = keys[names[0]]
        self.watched = f"/api/v1/realtime/subscribe/{names[0]}?after=999999999"
        self.keys, gateway = folder / "keys", folder / "gateway.key"
        self.keys.write_text("".join(f"{name} {key}\n" for name, key in keys.items()))
        gateway.write_text(f"gateway {FLEET_KEY}\n")
        bodies = write_bodies(folder, names)
        lines = doors.write_bodies(folder, names)
        self.payload = json.dumps(reading()).encode()
        self.targets = {
            "single": load.Target("/api/v1/ingest", self.keys, bodies["single"]),
            "batch": load.Target("/api/v1/ingest/batch", self.keys, bodies["batch"]),
            "gateway": load.Target("/api/v1/ingest/batch", gateway, bodies["gateway"]),
            "lines": load.Target(doors.WRITE, self.keys, lines["lines of one device each"], "text/plain"),
            "lines of a gateway": load.Target(doors.WRITE, gateway, lines["lines of a gateway"], "text/plain"),
        }

    def costs(self, checkout: Checkout, stack: Stack) -> Iterator[tuple[str, Cpu]]:
        """Yields each part's name and its CPU time per reading in µs."""
        if stack.server == "mqtt":
            if "mqtt" in self.parts:
                yield "mqtt", self.messages(checkout, stack)
            return
        stored = 0
        with checkout.start(stack) as server:
            pid = server.process.pid
            if any(part in self.parts for part in CONNECTIONS):
                load.run(server.url, self.targets["single"], connections=32, seconds=WARM_UP_SECONDS)
            for part, connections in CONNECTIONS.items():
                if part in self.parts:
                    before, length = used(pid, stack.postgresql), checkout.logs_length(stack)
                    found = load.run(server.url, self.targets[part], connections=connections, seconds=self.seconds)
                    assert not found.refused, f"{checkout.name}, {stack}, {part}: {found}"
                    time.sleep(SETTLE_SECONDS)
                    # Count in the database, because requests that wrk leaves unanswered when it ends are stored too.
                    readings = checkout.logs_length(stack) - length
                    stored += readings
                    yield part, (used(pid, stack.postgresql) - before).each(readings)
            if "live" in self.parts and stack.postgresql:
                yield "live", uvloop.run(self.live(checkout, stack, pid))
        if "maintenance" in self.parts and stored:
            yield "maintenance", self.maintenance(checkout, stack, stored)

    def messages(self, checkout: Checkout, stack: Stack) -> Cpu:
        with checkout.start(stack) as server:
            mqtt_load.run(server.port, self.keys, self.payload, connections=32, seconds=WARM_UP_SECONDS)
            before = used(server.process.pid, stack.postgresql)
            count, _ = mqtt_load.run(server.port, self.keys, self.payload, connections=32, seconds=self.seconds)
            return (used(server.process.pid, stack.postgresql) - before).each(count)

    async def live(self, checkout: Checkout, stack: Stack, pid: int) -> Cpu:
        audience = Audience(checkout.port, self.watched, checkout.settings["API_SECRET_KEY"])
        poster = Poster(checkout.port, "/api/v1/ingest", self.key)
        with closing(audience), closing(poster):
            await audience.grow(SOCKETS)
            await audience.step(poster, RATE, 1)
            before = used(pid, stack.postgresql)
            deliveries, posted = await audience.step(poster, RATE, self.seconds)
            delivered = len(deliveries.latencies)
            assert delivered == posted * SOCKETS, f"{checkout.name}, {stack}: {delivered} of {posted * SOCKETS} arrived"
            return (used(pid, stack.postgresql) - before).each(delivered)

    def maintenance(self, checkout: Checkout, stack: Stack, stored: int) -> Cpu:
        """CPU time per reading of the process that rolls up the stored readings, including its start."""
        process, database = ended_children_seconds(), database_seconds(stack.postgresql)
        while not checkout.manage(stack, "maintain", "--once").startswith("0 readings"):
            pass
        process, database = ended_children_seconds() - process, database_seconds(stack.postgresql) - database
        return Cpu(process, database).each(stored)


def table(results: Results) -> str:
    lines = [
        "| CPU, µs | before: server + database | after: server + database | after / before | of the pairs | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for (part, stack), pairs in results.items():
        ratios = [after.total / before.total for before, after in pairs]
        figures = [
            f"{median(cpu.server for cpu in side):.1f} + {median(cpu.database for cpu in side):.1f}"
            for side in zip(*pairs, strict=True)
        ]
        ratio = median(ratios)
        within = "" if ratio <= RATIO_MAX else f"over {RATIO_MAX}"
        cells = [*figures, f"{ratio:.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", within]
        lines.append(f"| {LABELS[part]}; {stack} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare")
    parser.add_argument("--before", type=Path, required=True, help="checkout of the code to compare with")
    parser.add_argument("--after", type=Path, default=ROOT, help="checkout of the changed code (default: this one)")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=8, help="seconds of load for each figure")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure only this part; may be repeated")
    parser.add_argument(
        "--stack",
        action="append",
        help="daphne, uvicorn, mqtt (`manage.py mqtt`), or one of them with ', SQLite'; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="measure one pair with two seconds of load")
    options = parser.parse_args()
    if not shutil.which("wrk"):
        raise SystemExit("wrk is missing: apt-get install wrk")
    pairs, seconds = (1, 2) if options.quick else (options.pairs, options.seconds)
    results: Results = defaultdict(list)
    with tempfile.TemporaryDirectory() as path, PostgreSQL() as postgresql:
        folder = Path(path)
        with psycopg.connect(postgresql.url, autocommit=True) as connection:
            # Off, because it would run during one measurement and not during the other.
            connection.execute("ALTER SYSTEM SET autovacuum = off")
            connection.execute("SELECT pg_reload_conf()")
        measuring = Measuring(folder, seconds=seconds, parts=tuple(options.only or PARTS))
        checkouts = [Checkout("before", options.before, folder), Checkout("after", options.after, folder)]
        with Redis(folder) as redis:
            stacks = [Stack(server, postgresql, redis.url) for server in SERVERS]
            stacks += [Stack(server, None, "") for server in SERVERS]
            stacks = [stack for stack in stacks if not options.stack or str(stack) in options.stack]
            for stack in stacks:
                for checkout in checkouts:
                    checkout.prepare(stack, measuring.keys)
            for number in range(pairs):
                console.print(f"Pair {number + 1} of {pairs}")
                for stack in stacks:
                    before, after = (dict(measuring.costs(checkout, stack)) for checkout in checkouts)
                    for part in before:
                        results[part, str(stack)].append((before[part], after[part]))
                        figures = f"{before[part].total:.1f} µs before, {after[part].total:.1f} after"
                        console.print(f"  {LABELS[part]}; {stack}: {figures}", soft_wrap=True)
    console.print(table(results), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()

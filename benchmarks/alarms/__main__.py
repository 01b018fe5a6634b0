"""`make bench-alarms`: from commit to receipt at a local webhook, and ingest with rules against without.

python -m benchmarks.alarms                            about 18 minutes
python -m benchmarks.alarms --only latency             from commit to receipt alone, about 3 minutes
python -m benchmarks.alarms --only ingest --rounds 1   ingest alone, about 5 minutes
python -m benchmarks.alarms --quick                    four minutes, for a first look

BENCH_ALARMS_PORT (8760) is the port of the server. Needs PostgreSQL at 127.0.0.1:5432. Writes no document.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
from rich.console import Console

from benchmarks.contenders.served import FLEET_KEY, SEED, create_database, drop_database, python
from benchmarks.measuring.servers import Server

PORT = int(os.environ.get("BENCH_ALARMS_PORT", "8760"))
DATABASE = "bench_alarms"
ADMIN_KEY = "admin-key-of-the-benchmark-0123456789"
DEVICES = 10_000
RATE = 1_000
# Each of these rules is used once in PROBE_SECONDS * PROBES, so that no message is gathered with the one before.
PROBES = 12
PROBE_SECONDS = 2.0
# An alarm is open while so many others are opened.
OPEN_PROBES = 6
ROUNDS = 3
CONNECTIONS = 4
INGEST_SECONDS = 90.0
# Longer than readings wait to be judged after the last one, and than judging all of them takes.
SETTLE_SECONDS = 27.0
WARM_UP_SECONDS = 5.0
ENVIRONMENT = {
    "ENV_FILE": os.devnull,
    "SECRET_KEY": "secret-key-of-the-benchmark-0123456789-0123456789",
    "API_SECRET_KEY": ADMIN_KEY,
    "DEVICE_API_KEYS": FLEET_KEY,
    "CONNECTIONS_PER_ADDRESS": "0",
    "PORT": str(PORT),
    "LOG_LEVEL": "WARNING",
    "DATABASE_URL": f"postgres://postgres@127.0.0.1/{DATABASE}",
}
console = Console()


class Receiver:
    """A webhook. `received`: when the message about a rule arrived, by the rule's name and in order."""

    def __init__(self) -> None:
        self.received: dict[str, list[float]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                now = time.monotonic()
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                if document["type"] == "alarm.opened":
                    receiver.received.setdefault(document["data"]["rule"]["name"], []).append(now)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def rules(channel: int) -> Iterator[dict[str, Any]]:
    """Twenty rules: PROBES of them open alarms when they are asked to; the others judge the fleet's metrics."""
    for number in range(PROBES):
        yield {"kind": "threshold", "metric": f"probe_{number}", "above": 0, "channels": [channel]}
    for metric in ("temperature", "humidity"):
        yield {"kind": "threshold", "metric": metric, "above": 1000}
        yield {"kind": "threshold", "metric": metric, "below": -1000, "for": 600}
    yield {"kind": "rate", "metric": "temperature", "change": 500, "per": 60}
    yield {"kind": "stuck", "metric": "humidity", "seconds": 86_400}
    yield {"kind": "silence", "seconds": 86_400}
    yield {"kind": "silence", "metric": "temperature", "seconds": 86_400}


def readings(numbers: Iterator[int], count: int) -> list[dict[str, Any]]:
    return [
        {"device_id": f"d-{number % DEVICES}", "temperature": 20 + number % 7, "humidity": 40 + number % 50 / 3}
        for number in itertools.islice(numbers, count)
    ]


def latencies(receiver: Receiver, seconds: float) -> list[float]:
    """Posts RATE readings a second; every PROBE_SECONDS one reading opens an alarm. Seconds until its receipt."""
    sent: dict[str, list[float]] = {}
    numbers = itertools.count()
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers={"X-API-Key": FLEET_KEY}, timeout=30) as client:
        started = time.monotonic()
        for second in itertools.count():
            if second >= seconds:
                break
            time.sleep(max(0.0, started + second - time.monotonic()))
            batch = readings(numbers, RATE)
            probe = int(second // PROBE_SECONDS)
            opens = second % PROBE_SECONDS == 0
            # An alarm that ends soon after it opened may be one message, which says that it was resolved.
            batch[-1][f"probe_{(probe if opens else probe - OPEN_PROBES) % PROBES}"] = 1 if opens else 0
            batch[-1]["device_id"] = "d-0"
            client.post("/api/v1/ingest/batch", json=batch).raise_for_status()
            if opens:
                sent.setdefault(f"rule {probe % PROBES}", []).append(time.monotonic())
        time.sleep(15)
    found = []
    for name, times in sent.items():
        arrived = receiver.received.get(name, [])
        if len(arrived) != len(times):
            console.print(f"[red]{name}: {len(times)} alarms, {len(arrived)} messages[/red]")
        found += [arrival - committed for committed, arrival in zip(times, arrived, strict=False)]
    return sorted(found)


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process until now; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Used:
    """The CPU time of the server and of its connections' processes in PostgreSQL, from `begin` on."""

    def __init__(self, server: Server) -> None:
        self.server = server.process.pid
        self.before: dict[int, float] = {}

    def begin(self) -> None:
        self.before = {pid: cpu_seconds(pid) for pid in [self.server, *backends()]}

    def seconds(self) -> tuple[float, float]:
        """Of the server, and of PostgreSQL."""
        used = {pid: cpu_seconds(pid) - self.before.get(pid, 0.0) for pid in [self.server, *backends()]}
        return used.pop(self.server), sum(used.values())


def backends() -> list[int]:
    with psycopg.connect("host=127.0.0.1 user=postgres dbname=postgres", autocommit=True) as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [DATABASE]).fetchall()
    return [pid for (pid,) in rows]


def ingest(server: Server, seconds: float) -> tuple[float, float, float]:
    """Readings per second at full speed, and microseconds of CPU per reading: of the server, and of PostgreSQL.

    Includes what the evaluation does in the SETTLE_SECONDS afterwards, because it may lag behind.
    """
    numbers = itertools.count()
    bodies = [json.dumps(readings(numbers, 1_000)).encode() for _ in range(DEVICES // 1_000)]
    stop = time.monotonic() + seconds
    counts, refused = [0] * CONNECTIONS, [0] * CONNECTIONS

    def post(index: int) -> None:
        headers = {"X-API-Key": FLEET_KEY, "Content-Type": "application/json"}
        with httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers=headers, timeout=60) as client:
            while time.monotonic() < stop:
                body = bodies[(counts[index] + index) % len(bodies)]
                answer = client.post("/api/v1/ingest/batch", content=body)
                if answer.status_code == 503:  # the database is too slow for this load; the reading does not count
                    refused[index] += 1
                    continue
                answer.raise_for_status()
                counts[index] += 1

    used = Used(server)
    used.begin()
    started = time.monotonic()
    threads = [threading.Thread(target=post, args=[index]) for index in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(refused):
        console.print(f"[red]{sum(refused)} batches were refused with 503[/red]")
    total, took = sum(counts) * 1_000, time.monotonic() - started
    time.sleep(SETTLE_SECONDS)
    of_server, of_postgresql = used.seconds()
    return total / took, of_server / total * 1e6, of_postgresql / total * 1e6


def compare(server: Server, identifiers: list[int], admin: httpx.Client, *, rounds: int, seconds: float) -> None:
    """Ingest with and without active rules, alternating; each time after every device has reported once."""
    figures: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    for active in [True, False] * rounds:
        for identifier in identifiers:
            admin.patch(f"/api/v1/alarm-rules/{identifier}", json={"is_active": active}).raise_for_status()
        ingest(server, WARM_UP_SECONDS)
        figures[active].append(ingest(server, seconds))
    medians = {
        active: [statistics.median(column) for column in zip(*figures[active], strict=True)] for active in figures
    }
    for active, name in ((True, f"with {len(identifiers)} rules"), (False, "without rules")):
        rate, of_server, of_postgresql = medians[active]
        console.print(
            f"ingest {name}: {rate:,.0f} readings/s; CPU of each: {of_server + of_postgresql:.1f} µs "
            f"(server {of_server:.1f}, PostgreSQL {of_postgresql:.1f})"
        )
    speed, cpu = medians[True][0] / medians[False][0], sum(medians[True][1:]) / sum(medians[False][1:])
    console.print(f"with rules against without: speed {speed:.2f}, CPU {cpu:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four minutes, for a first look")
    parser.add_argument("--only", choices=("latency", "ingest"), help="one of the two measurements")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often ingest is measured")
    parser.add_argument("--seconds", type=float, default=INGEST_SECONDS, help="how long each time")
    chosen = parser.parse_args()
    quick, rounds = chosen.quick, 1 if chosen.quick else chosen.rounds
    receiver = Receiver()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = folder / "keys"
        keys.write_text("".join(f"d-{number} key-{number}\n" for number in range(DEVICES)))
        create_database(DATABASE)
        python("manage.py", "migrate", "-v0", environment=ENVIRONMENT)
        python("manage.py", "shell", "-v0", "-c", SEED.format(keys=str(keys)), environment=ENVIRONMENT)
        command = [sys.executable, "manage.py", "up", "--no-demo"]
        with (
            Server(command, port=PORT, log=folder / "product.log", environment=ENVIRONMENT) as server,
            httpx.Client(base_url=server.url, headers={"X-API-Key": ADMIN_KEY}, timeout=60) as admin,
        ):
            target = f"http://127.0.0.1:{receiver.server.server_address[1]}/"
            made = admin.post("/api/v1/channels", json={"name": "bench", "kind": "webhook", "target": target})
            channel = made.raise_for_status().json()["id"]
            identifiers = []
            for number, rule in enumerate(rules(channel)):
                stored = admin.post("/api/v1/alarm-rules", json={"name": f"rule {number}"} | rule)
                identifiers.append(stored.raise_for_status().json()["id"])
            found = latencies(receiver, 26 if quick else 120) if chosen.only != "ingest" else []
            if found:
                p50, p95 = (found[min(len(found) - 1, int(len(found) * share))] for share in (0.5, 0.95))
                what = f"{RATE:,} readings/s, {len(identifiers)} rules, {DEVICES:,} devices"
                console.print(f"{what}: commit to receipt p50 {p50:.2f} s, p95 {p95:.2f} s of {len(found)} alarms")
            if chosen.only != "latency":
                compare(server, identifiers, admin, rounds=rounds, seconds=20 if quick else chosen.seconds)
        drop_database(DATABASE)


if __name__ == "__main__":
    main()

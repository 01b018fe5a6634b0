"""`make bench-doors`, its part about MQTT: single messages with QoS 1, beside HTTP and beside the usual way.

python -m benchmarks.mqtt             about two minutes
python -m benchmarks.mqtt --quick     one short round; writes no document
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import psycopg
from rich.console import Console

from benchmarks.contenders.served import FLEET_KEY, create_database, drop_database, product
from benchmarks.ingest import DEVICES, SEPARATOR, reading
from benchmarks.measuring import load, mqtt_load, report
from benchmarks.measuring.servers import Server

CONNECTIONS = 32
PAYLOAD = json.dumps(reading()).encode()
MQTT_PORT, BROKER_PORT = 8721, 8722
DRAIN_SECONDS = 60
USUAL = "bench_mqtt_usual"
HTTP, OURS, BROKER, STORED = (
    "HTTP on uvicorn: stored",
    "MQTT, `manage.py mqtt`: acknowledged, so stored",
    "Mosquitto with a paho-mqtt subscriber: acknowledged",
    "Mosquitto with a paho-mqtt subscriber: stored",
)

console = Console()
Rates = dict[str, list[float]]
# CPU seconds of the server process for each reading.
cpu: Rates = defaultdict(list)


def measure_ours(folder: Path, keys: Path, database: str, rates: Rates, *, seconds: int) -> None:
    environment = {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "secret-key-of-the-benchmark-0123456789-0123456789",
        "API_SECRET_KEY": "admin-key-of-the-benchmark-0123456789",
        "DEVICE_API_KEYS": FLEET_KEY,
        "MQTT_PORT": str(MQTT_PORT),
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": f"postgres://postgres@127.0.0.1/{database}",
        "REDIS_URL": "redis://127.0.0.1:6379/15",
    }
    command = [sys.executable, "manage.py", "mqtt"]
    with Server(command, port=MQTT_PORT, log=folder / "mqtt.log", environment=environment) as server:
        before, used = stored_in(database, "readings_reading"), cpu_seconds(server)
        count, took = mqtt_load.run(MQTT_PORT, keys, PAYLOAD, connections=CONNECTIONS, seconds=seconds)
        cpu[OURS].append((cpu_seconds(server) - used) / count)
        assert stored_in(database, "readings_reading") - before == count
    rates[OURS].append(count / took)


def measure_usual(folder: Path, keys: Path, rates: Rates, *, seconds: int) -> int:
    """Returns how many acknowledged messages were not stored DRAIN_SECONDS after the load."""
    configuration = folder / "mosquitto.conf"
    configuration.write_text(f"listener {BROKER_PORT} 127.0.0.1\nallow_anonymous true\n")
    with ExitStack() as running:
        broker = ["mosquitto", "-c", str(configuration)]
        running.enter_context(Server(broker, port=BROKER_PORT, log=folder / "mosquitto.log", environment={}))
        command = [sys.executable, "-m", "benchmarks.contenders.mqtt_subscriber", str(BROKER_PORT), USUAL]
        subscriber = running.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE))
        running.callback(subscriber.terminate)
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        before = stored_in(USUAL, "reading")
        started = time.monotonic()
        count, took = mqtt_load.run(BROKER_PORT, keys, PAYLOAD, connections=CONNECTIONS, seconds=seconds)
        stored, changed_at = 0, time.monotonic()
        while stored < count and time.monotonic() - started < DRAIN_SECONDS and time.monotonic() - changed_at < 3:
            time.sleep(0.1)
            if (now := stored_in(USUAL, "reading") - before) != stored:
                stored, changed_at = now, time.monotonic()
    rates[BROKER].append(count / took)
    rates[STORED].append(stored / (changed_at - started))
    return count - stored


def cpu_seconds(server: Server) -> float:
    """User and system time of the server process."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of(name: str) -> str:
    return f"{statistics.median(cpu[name]) * 1e6:.0f} µs" if name in cpu else ""


def stored_in(database: str, table: str) -> int:
    with psycopg.connect(f"host=127.0.0.1 user=postgres dbname={database}") as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone() or (0,)
        return int(count)


def document(rates: Rates, missing: int, *, rounds: int, seconds: int) -> str:
    medians = {name: statistics.median(found) for name, found in rates.items()}
    text = [
        "## MQTT",
        "",
        f"`make bench-doors`, {time.strftime('%Y-%m-%d')}: single readings of four metrics over {CONNECTIONS} "
        "connections, each of which waits for its answer (HTTP) or its PUBACK (QoS 1) before the next one; medians of "
        f"{rounds} rounds of {seconds} s. The usual way is Mosquitto with its default settings and a paho-mqtt "
        "subscriber that inserts each message. CPU is that of the server process for each stored reading.",
        "",
        "| | per second | CPU |",
        "| --- | ---: | ---: |",
        *(f"| {name} | {rate:,.0f} | {cpu_of(name)} |" for name, rate in medians.items()),
        "",
        f"Of the messages that Mosquitto had acknowledged, {missing:,} were not stored in the end: its queue for a "
        "subscriber (`max_queued_messages`) was full. Of those that this server had acknowledged all were stored.",
    ]
    return "\n".join(text)


def run(*, quick: bool) -> None:
    rounds, seconds = (1, 3) if quick else (3, 5)
    if missing_tool := next((tool for tool in ("mosquitto", "wrk") if not shutil.which(tool)), None):
        raise SystemExit(f"{missing_tool} is missing: apt-get install {missing_tool}")
    rates: Rates = defaultdict(list)
    missing = 0
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        keys = folder / "keys"
        keys.write_text("".join(f"d-{n:04} tlm_{random.getrandbits(192):048x}\n" for n in range(DEVICES)))
        body = folder / "single"
        body.write_text(SEPARATOR.join([json.dumps(reading())]))
        http = product(folder, keys, dict.fromkeys(("single", "batch", "gateway"), body), server="uvicorn")
        http.prepare()
        create_database(USUAL)
        for number in range(rounds):
            console.print(f"Round {number + 1} of {rounds}")
            with http.start() as server:
                used = cpu_seconds(server)
                found = load.run(server.url, http.targets["single"], connections=CONNECTIONS, seconds=seconds)
                cpu[HTTP].append((cpu_seconds(server) - used) / found.requests)
                rates[HTTP].append(found.per_second)
            measure_ours(folder, keys, http.database, rates, seconds=seconds)
            missing += measure_usual(folder, keys, rates, seconds=seconds)
            console.print({name: round(found[-1]) for name, found in rates.items()})
        for database in (http.database, USUAL):
            drop_database(database)
    text = document(rates, missing, rounds=rounds, seconds=seconds)
    console.print(text)
    if not quick:
        report.write("mqtt", text)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mqtt")
    parser.add_argument("--quick", action="store_true", help="run one short round and write no document")
    run(quick=parser.parse_args().quick)


if __name__ == "__main__":
    main()

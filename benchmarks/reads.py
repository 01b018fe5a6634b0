"""Compares the CPU time of reading a log in two checkouts of the product, on SQLite, inside one process for each.

python -m benchmarks.reads --before DIR        about two minutes

A ratio above RATIO_MAX is a failure. The two are measured in turn, so that other load on the machine affects both.
The least time of each counts.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).parents[1]
ROUNDS = 7
RATIO_MAX = 1.1  # the same checkout twice gives up to 1.05 on a busy machine

# Runs in each checkout. 40,000 readings, one a minute, with two metrics beside the columns.
FILL = """
from datetime import UTC, datetime, timedelta
from devices.models import Device
from readings.log.entries import NewReading
from readings.log.recording import record
from readings.statistics.tiers import HOURS
from readings.upkeep.rollups import roll_up

Device.objects.register(device_id="mote-1")
began = datetime(2026, 5, 1, tzinfo=UTC)
for first in range(0, 40_000, 2_000):
    record([
        NewReading("mote-1", began + timedelta(minutes=n), None, 20 + n % 700 / 100, 40 + n % 90 / 10, 3.3,
                   {"rssi": -60 - n % 20, "co2": 400.5 + n % 300})
        for n in range(first, first + 2_000)
    ], received_at=began + timedelta(minutes=first + 2_000))
while roll_up(HOURS):
    pass
"""
MEASURE = """
import asyncio, json, time
from django.test import Client
from devices.models import Device

client = Client(headers={"x-api-key": "reads-reads-reads-reads"})
PATH = "/api/v1/devices/mote-1"
QUESTIONS = {
    "history, 100": (40, f"{PATH}/history", {"limit": "100"}),
    "history, 1,000": (20, f"{PATH}/history", {"limit": "1000"}),
    "history, 100 with a metric": (40, f"{PATH}/history", {"limit": "100", "metrics": "co2"}),
    "24 h at 5 min": (20, f"{PATH}/aggregate",
                      {"start": "2026-05-20T10:07:00Z", "end": "2026-05-21T10:07:00Z", "bucket": "5m"}),
    "CSV, 40,000": (1, f"{PATH}/history", {"format": "csv"}),
}

async def drained(response):
    return sum([len(piece) async for piece in response.streaming_content])

def ask(path, query):
    response = client.get(path, query)
    assert response.status_code == 200, response.content
    return asyncio.run(drained(response)) if response.streaming else len(response.content)

found = {}
for name, (times, path, query) in QUESTIONS.items():
    ask(path, query)
    began = time.process_time()
    for _ in range(times):
        ask(path, query)
    found[name] = (time.process_time() - began) / times * 1000
print(json.dumps(found))
"""


def run(folder: Path, database: Path, code: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONDONTWRITEBYTECODE": "1",
        "ENV_FILE": "/dev/null",
        "DATABASE_URL": f"sqlite:///{database}",
        "SECRET_KEY": "reads-reads-reads-reads-reads-reads-reads-reads",
        "API_SECRET_KEY": "reads-reads-reads-reads",
        "ALLOWED_HOSTS": "testserver",
    }
    command = [sys.executable, "manage.py", "shell", "-v0", "-c", code]
    if not database.exists():
        subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=folder, env=environment, check=True)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="the checkout to compare with")
    folders = {"before": parser.parse_args().before.resolve(), "after": ROOT}
    console = Console()
    found: dict[str, dict[str, list[float]]] = {name: {} for name in folders}
    with tempfile.TemporaryDirectory() as work:
        databases = {name: Path(work) / f"{name}.sqlite3" for name in folders}
        for name, folder in folders.items():
            run(folder, databases[name], FILL)
        for _ in range(ROUNDS):
            for name, folder in folders.items():
                for question, milliseconds in json.loads(
                    run(folder, databases[name], MEASURE).splitlines()[-1]
                ).items():
                    found[name].setdefault(question, []).append(milliseconds)
    slower = False
    for question, before in found["before"].items():
        ratio = min(found["after"][question]) / min(before)
        slower = slower or ratio > RATIO_MAX
        console.print(f"{question}: {min(before):.2f} → {min(found['after'][question]):.2f} ms of CPU ({ratio:.2f})")
    if slower:
        sys.exit(f"Slower: a ratio is above {RATIO_MAX}.")


if __name__ == "__main__":
    main()

"""A large fleet that reports constantly: every device is rolled up in time, and no device is always last."""

import asyncio
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path

import httpx
import msgspec
import psycopg
import pytest
from django.conf import settings

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import FLEET_KEY, Server

pytestmark = pytest.mark.prove

DEVICES = 20_000
MINUTES = float(os.environ.get("ACTIVE_MINUTES", "5"))
INTERVAL_SECONDS = 5.0
BATCH = 1_000
LAG_SECONDS_MAX = 60
LOOK_SECONDS = 2.0
# A device counts as always last if its average lag exceeds that of most devices by both of these.
UNFAIR_FACTOR, UNFAIR_SECONDS = 2, 10

REGISTER = """
from devices.keys import generate_key, hash_key
from devices.models import Device, DeviceState
names = [f"d-{number:05}" for number in range(COUNT)]
Device.objects.bulk_create(
    [Device(device_id=name, api_key_hash=hash_key(generate_key())) for name in names], batch_size=1000
)
DeviceState.objects.bulk_create([DeviceState(device_id=name) for name in names], batch_size=1000)
"""
POSITIONS = """
SELECT device_id, last_seq, least(rolled_up_seq, coalesce(rolled_up_minutes_seq, rolled_up_seq))
FROM devices_devicestate
"""


class Lags:
    """Samples positions: how long the oldest reading of each device has waited to be rolled up."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url
        # By device: times at which its log was longer than its rollups, and the length at that time.
        self.waiting: dict[str, deque[tuple[float, int]]] = {}
        self.total: dict[str, float] = {}
        self.most: dict[str, float] = {}
        self.looks = 0
        self.stop = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            while not self.stop.wait(LOOK_SECONDS):
                self.look(connection)

    def look(self, connection: psycopg.Connection) -> None:
        now = time.monotonic()
        self.looks += 1
        for device_id, last_seq, rolled_up in connection.execute(POSITIONS).fetchall():
            waiting = self.waiting.setdefault(device_id, deque())
            if last_seq and (not waiting or waiting[-1][1] < last_seq):
                waiting.append((now, last_seq))
            while waiting and waiting[0][1] <= rolled_up:
                waiting.popleft()
            lag = now - waiting[0][0] if waiting else 0.0
            self.total[device_id] = self.total.get(device_id, 0.0) + lag
            self.most[device_id] = max(lag, self.most.get(device_id, 0.0))

    def longest(self) -> float:
        return max(self.most.values())

    def mean(self) -> dict[str, float]:
        return {device_id: total / self.looks for device_id, total in self.total.items()}


async def post_all(server: Server, names: list[str], seconds: float) -> int:
    """Posts a reading of each device every INTERVAL_SECONDS, in batches evenly spaced; returns the number stored."""
    encode = msgspec.json.encode
    bodies = [
        encode([{"device_id": name, "temperature": 21.5} for name in names[first : first + BATCH]])
        for first in range(0, len(names), BATCH)
    ]
    headers = {"X-API-Key": FLEET_KEY, "Content-Type": "application/json"}
    stored = 0
    async with httpx.AsyncClient(headers=headers, timeout=60) as client:
        started, number = time.monotonic(), 0

        async def post(body: bytes) -> None:
            nonlocal stored
            answer = await client.post(f"{server.url}/api/v1/ingest/batch", content=body)
            assert answer.status_code == 201, answer.text
            stored += BATCH

        async with asyncio.TaskGroup() as tasks:
            while (due := started + number * INTERVAL_SECONDS / len(bodies)) < started + seconds:
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                tasks.create_task(post(bodies[number % len(bodies)]))
                number += 1
    return stored


def test_twenty_thousand_active_devices(tmp_path: Path, record: Record) -> None:
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        command = [sys.executable, "manage.py", "shell", "-v0", "-c", REGISTER.replace("COUNT", str(DEVICES))]
        subprocess.run(command, env=server.environment, cwd=settings.BASE_DIR, check=True)
        names = [f"d-{number:05}" for number in range(DEVICES)]
        lags = Lags(postgresql.url)
        looking = threading.Thread(target=lags.run)
        looking.start()
        try:
            stored = asyncio.run(post_all(server, names, MINUTES * 60))
        finally:
            lags.stop.set()
            looking.join()
        mean = lags.mean()
        typical, slowest = statistics.median(mean.values()), max(mean, key=lambda device_id: mean[device_id])
        late = sum(lag > LAG_SECONDS_MAX for lag in lags.most.values())
        record(
            f"{DEVICES:,} devices, each with a reading every {INTERVAL_SECONDS:g} s for {MINUTES:g} min",
            seen=f"{stored:,} readings stored; rolled up within {lags.longest():.0f} s at the latest ({late:,} devices "
            f"beyond {LAG_SECONDS_MAX} s), on average {typical:.0f} s for most and {mean[slowest]:.0f} s for {slowest}",
        )
        # The load generator kept its rate.
        assert stored >= 0.95 * DEVICES * MINUTES * 60 / INTERVAL_SECONDS
        assert late == 0
        assert mean[slowest] <= UNFAIR_FACTOR * typical + UNFAIR_SECONDS

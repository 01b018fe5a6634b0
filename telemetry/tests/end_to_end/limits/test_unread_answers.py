"""Clients that request a large CSV and do not read it: they use little memory and are disconnected."""

import json
import random
import time
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from telemetry.tests.support.clients.raw import (
    connect,
    connections_to,
    cpu_seconds,
    head,
    memory_mb,
    some_of,
    wait_until,
)
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.once,
    pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"]),
]

# Seven with the slow one: two callers have four and three places (telemetry/gateway/request_slots.py).
CLIENTS = 6
# A row has 95 bytes: 11 MB for each client, 68 MB for all.
BATCHES, BATCH = 12, 10_000
GROWTH_MB_MAX = 30
DROPPED_SECONDS_MAX = 120
# Bytes that the slow client reads every 5 s, far less than is sent.
SIP = 64 * 1024


def fill(server: Server, device_id: str) -> str:
    """Stores the readings and returns the device's key."""
    key = server.register(device_id)
    chance = random.Random(1)
    for number in range(BATCHES):
        readings = [
            {"device_id": device_id, "age_seconds": age, "temperature": chance.random()}
            for age in range((BATCHES - number) * BATCH, (BATCHES - number - 1) * BATCH, -1)
        ]
        server.post_batch(json.dumps(readings).encode(), key=FLEET_KEY)
    return key


def dropped(server: Server, reason: str) -> int:
    metrics = httpx.get(f"{server.url}/metrics", headers={"X-API-Key": ADMIN_KEY}).text
    name = f'telemetry_connections_dropped_total{{reason="{reason}"}} '
    return next((int(float(line.removeprefix(name))) for line in metrics.splitlines() if line.startswith(name)), 0)


def test_an_export_that_is_not_read_takes_little_memory_and_ends(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server, ExitStack() as clients:
        path = "/api/v1/devices/d-1/history?format=csv&metrics=temperature"
        keys = (ADMIN_KEY, fill(server, "d-1"))
        for key in keys:  # a key that is not known yet counts for its address
            assert httpx.get(f"{server.url}/api/v1/devices/d-1", headers={"X-API-Key": key}).status_code == 200
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")  # resets VmHWM (proc(5))
        before = memory_mb(server)

        asking = [clients.enter_context(connect(server, receive_buffer=4096)) for _ in range(CLIENTS + 1)]
        for client, key in zip(asking, cycle(keys), strict=False):
            client.sendall(head("GET", path, X_API_Key=key))
        slow = asking[-1]
        assert wait_until(lambda: connections_to(server) == CLIENTS + 1, seconds=20)
        deadline = time.monotonic() + DROPPED_SECONDS_MAX
        # Until all clients except the slow one are disconnected.
        while connections_to(server) > 1 and time.monotonic() < deadline:
            taken = 0
            while taken < SIP:
                taken += len(some_of(slow, SIP - taken))
            time.sleep(5)

        assert memory_mb(server, "VmHWM") - before < GROWTH_MB_MAX
        assert connections_to(server) == 1
        assert dropped(server, "unread") == CLIENTS
        assert slow.recv(SIP)
        used = cpu_seconds(server)
        time.sleep(2)
        assert cpu_seconds(server) - used < 0.5

"""A server that is told to stop while devices post stops, and has stored what it acknowledged."""

import threading
import time
from pathlib import Path

import httpx
import pytest

from telemetry.tests.server import Server

pytestmark = pytest.mark.e2e

DEVICES = 32
STOP_SECONDS = 10


def post_until_it_stops(server: Server, key: str, acknowledged: list[str]) -> None:
    """Posts one reading after the other; keeps the ids that were acknowledged."""
    with httpx.Client(headers={"X-API-Key": key}, timeout=STOP_SECONDS) as client:
        while True:
            try:
                response = client.post(f"{server.url}/api/v1/ingest", json={"temperature": 21.5})
            except httpx.TransportError:
                return
            if response.status_code == 201:
                acknowledged.append(response.json()["id"])


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_it_stops_under_load_and_has_what_it_acknowledged(tmp_path: Path, how: str) -> None:
    with Server(tmp_path) as server:
        names = [f"d-{number}" for number in range(DEVICES)]
        acknowledged: dict[str, list[str]] = {name: [] for name in names}
        keys = {name: server.register(name) for name in names}
        threads = [
            threading.Thread(target=post_until_it_stops, args=(server, keys[name], acknowledged[name]))
            for name in names
        ]
        for thread in threads:
            thread.start()
        time.sleep(1.5)

        getattr(server.process, how)()
        server.process.wait(STOP_SECONDS)
        for thread in threads:
            thread.join()

        assert min(map(len, acknowledged.values())) > 0
        server.start()
        for name in names:
            assert set(acknowledged[name]) <= set(server.log_of(name))

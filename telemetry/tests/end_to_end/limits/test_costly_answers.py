"""Several callers request the largest answer at once: the server's memory stays within its limit."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

NAMES = 200
READINGS = 10_000
AT_ONCE = 4
# Without `limit_arenas` 300 to 315.
MEGABYTES_MAX = 280


def memory_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1024


def test_memory_is_bounded(tmp_path):
    with Server(tmp_path) as server:
        server.register("wide")
        for first in range(0, READINGS, 1000):
            readings = [
                {
                    "device_id": "wide",
                    "temperature": n / 7,
                    "humidity": 40.5,
                    "voltage": 3.9,
                    "age_seconds": READINGS - n,
                }
                | {f"metric_{(n * 7 + k) % NAMES:03}": n / 7 + k for k in range(32)}
                for n in range(first, first + 1000)
            ]
            headers = {"X-API-Key": FLEET_KEY}
            answer = httpx.post(f"{server.url}/api/v1/ingest/batch", json=readings, headers=headers, timeout=60)
            assert answer.status_code == 201, answer.text[:200]

        def ask(_):
            url = f"{server.url}/api/v1/devices/wide/aggregate?start=-9999s&bucket=11s&fill=null"
            answer = httpx.get(url, headers={"X-API-Key": ADMIN_KEY}, timeout=120)
            return answer.status_code, len(answer.content)

        with ThreadPoolExecutor(AT_ONCE) as callers:
            answers = list(callers.map(ask, range(AT_ONCE)))
        memory = memory_mb(server)

    assert (200, True) in {(status, size > 15_000_000) for status, size in answers}
    assert {status for status, _ in answers} <= {200, 503}
    assert memory < MEGABYTES_MAX

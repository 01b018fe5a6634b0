"""A long CSV export from a real server: it starts at once and needs constant memory."""

import json
import time
from pathlib import Path

import httpx
import pytest

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.once]

READINGS = 120_000
BATCH = 10_000
GROWTH_MB_MAX = 30


def memory_mb(server: Server, figure: str) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(figure)) / 1024


def test_a_long_export_is_streamed_and_takes_no_memory(tmp_path):
    with Server(tmp_path) as server:
        key = server.register("long")
        for number in range(0, READINGS, BATCH):
            readings = [
                {"temperature": n % 40, "n": n, "age_seconds": READINGS - n} for n in range(number, number + BATCH)
            ]
            server.post_batch(json.dumps(readings).encode(), key=key)
        # Resets the peak memory to the current value (proc(5)).
        Path(f"/proc/{server.process.pid}/clear_refs").write_text("5")
        before = memory_mb(server, "VmHWM")
        address = f"{server.url}/api/v1/devices/long/history?format=csv&order=asc"
        lines, parts = 0, 0
        with httpx.stream("GET", address, headers={"X-API-Key": ADMIN_KEY}, timeout=60) as response:
            assert response.headers["Content-Encoding"] == "gzip"  # which httpx asks for
            for part in response.iter_bytes():
                lines += part.count(b"\n")
                parts += 1
                if parts == 3:
                    time.sleep(1)  # pause reading: the server must not buffer more
        assert lines == READINGS + 1
        assert parts > 20
        assert memory_mb(server, "VmHWM") - before < GROWTH_MB_MAX

"""Bodies much larger than the limit, on a real server: refused while they arrive, without effect on other clients."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from telemetry.tests.support.servers.server import FLEET_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.once]

MEGABYTE = b"x" * 1_000_000
MEGABYTES = 400
GROWTH_MB_MAX = 60


def resident_mb(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) / 1000


@pytest.mark.parametrize("key", [FLEET_KEY, None], ids=["with a key", "without"])
@pytest.mark.parametrize("length", [True, False], ids=["Content-Length", "chunked"])
def test_a_body_far_over_the_limit_is_cut_off_and_costs_little_memory(tmp_path, key, length):
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(MEGABYTES):
            sent += 1
            yield MEGABYTE

    with Server(tmp_path) as server:
        device_key = server.register("d-1")
        headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
        if length:
            headers["Content-Length"] = str(MEGABYTES * len(MEGABYTE))
        before = resident_mb(server)
        try:
            status = httpx.post(f"{server.url}/api/v1/ingest/batch", content=body(), headers=headers).status_code
        except httpx.TransportError:  # the server closed before the answer was read
            status = 413

        assert status == 413
        assert sent < MEGABYTES / 4
        assert resident_mb(server) - before < GROWTH_MB_MAX
        answer = httpx.post(f"{server.url}/api/v1/ingest", json={"temperature": 1}, headers={"X-API-Key": device_key})
        assert answer.status_code == 201


@pytest.mark.parametrize(("key", "status"), [(FLEET_KEY, 413), (None, 401)])
def test_a_body_somewhat_over_it_is_answered_in_full(tmp_path, key, status):
    with Server(tmp_path) as server:
        headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
        answer = httpx.post(f"{server.url}/api/v1/ingest/batch", content=MEGABYTE * 8, headers=headers)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"

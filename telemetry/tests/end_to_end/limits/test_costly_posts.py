"""One caller posts bodies that are costly to refuse: posts of other devices continue."""

import gzip
import statistics
import threading
import time

import httpx
import pytest

from telemetry.tests.support.servers.server import FLEET_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.alone, pytest.mark.once]

CONNECTIONS = 8
POSTS = 60
SIZE = 4 << 20
WORST = {
    "too many items": b"[" + b"[]," * (SIZE // 3 - 2) + b"[]]",
    "one large item": b"[[" + b"[]," * (SIZE // 3 - 3) + b"[]]]",
    "10,000 refused readings": b"[" + b"{}," * 9_999 + b"{}]",
    "numbers out of range": b"[" + b'{"temperature":1e999},' * 9_999 + b"{}]",
}


def median_of_posts(server: Server, key: str) -> float:
    seconds = []
    with httpx.Client(base_url=server.url, headers={"X-API-Key": key}, timeout=60) as client:
        for _ in range(POSTS):
            before = time.monotonic()
            assert client.post("/api/v1/ingest", json={"temperature": 1}).status_code == 201
            seconds.append(time.monotonic() - before)
            time.sleep(0.02)
    return statistics.median(seconds)


@pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"])
def test_bodies_that_are_refused_cost_the_others_little(tmp_path, uvicorn):
    with Server(tmp_path, uvicorn=uvicorn) as server:
        key = server.register("other")
        idle = median_of_posts(server, key)
        for name, body in WORST.items():
            stop, packed = threading.Event(), gzip.compress(body)
            statuses: set[int] = set()

            def attack(packed=packed, stop=stop, statuses=statuses):
                headers = {"X-API-Key": FLEET_KEY, "Content-Type": "application/json", "Content-Encoding": "gzip"}
                with httpx.Client(base_url=server.url, headers=headers, timeout=60) as client:
                    while not stop.is_set():
                        statuses.add(client.post("/api/v1/ingest/batch", content=packed).status_code)

            attackers = [threading.Thread(target=attack) for _ in range(CONNECTIONS)]
            for attacker in attackers:
                attacker.start()
            try:
                attacked = median_of_posts(server, key)
            finally:
                stop.set()
                for attacker in attackers:
                    attacker.join()
            assert statuses == {422}, name
            assert attacked < 0.1 + 5 * idle, f"{name}: {attacked:.3f} s, idle {idle:.3f} s"

"""Real servers: requests of one caller, answered or abandoned, do not affect the other callers."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from telemetry.tests.support.servers.server import ADMIN_KEY, UVICORN, Server

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

READINGS = 200_000
BATCH = 2_500
WINDOW_SECONDS = 9000
# The most expensive query that is answered.
EXPENSIVE = f"/api/v1/devices/greedy/aggregate?start=-{WINDOW_SECONDS + 900}s&bucket=1s"
ABANDONED = 30
ABANDONED_AFTER_SECONDS = 0.5
# Seconds within which an abandoned query must end; its own deadline is 30 s.
ENDED_SECONDS_MAX = 4
POSTING_DEVICES = 8
POSTING_SECONDS = 6
# Seconds for posts beside the greedy caller; without limits, the slowest were refused after more than 4 s.
P99_SECONDS_MAX = 1.0


@pytest.fixture(scope="module", params=UVICORN)
def server(request: Any, tmp_path_factory: Any) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("isolation")
    with Server(folder, uvicorn=request.param) as server:
        yield server


@pytest.fixture(scope="module")
def keys(server: Server) -> dict[str, str]:
    """Keys by device id; the device `greedy` has a long log."""
    names = ["greedy", *(f"d-{number}" for number in range(POSTING_DEVICES))]
    keys = {name: server.register(name) for name in names}
    for number in range(0, READINGS, BATCH):
        readings = [
            {"temperature": n % 40, "humidity": n % 90, "voltage": 3, "age_seconds": n * WINDOW_SECONDS / READINGS}
            for n in range(number, number + BATCH)
        ]
        path = f"{server.url}/api/v1/ingest/batch"
        assert httpx.post(path, json=readings, headers={"X-API-Key": keys["greedy"]}, timeout=30).status_code == 201
    return keys


def figures(server: Server) -> dict[str, float]:
    """The server's metrics without labels, by name."""
    text = httpx.get(f"{server.url}/metrics", headers={"X-API-Key": ADMIN_KEY}, timeout=20).text
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}


async def abandon(server: Server, key: str, path: str) -> None:
    """Sends a request and disconnects without the answer; over a plain socket, to use little CPU time here."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode())
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(1), ABANDONED_AFTER_SECONDS)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def abandon_many(server: Server, keys: dict[str, str]) -> None:
    """Queries by every caller at once, each about itself."""
    callers = [(name, key) for name, key in keys.items() if name != "greedy"]
    async with asyncio.TaskGroup() as group:
        for number in range(ABANDONED):
            name, key = callers[number % len(callers)]
            path = EXPENSIVE if connection.vendor == "sqlite" else f"/api/v1/devices/{name}/history"
            group.create_task(abandon(server, ADMIN_KEY if connection.vendor == "sqlite" else key, path))


@contextlib.contextmanager
def locked(server: Server) -> Iterator[Any]:
    """Locks the table of devices; yields a function that returns how many sessions wait for it."""
    url = server.environment["DATABASE_URL"]
    with psycopg.connect(url) as locking, psycopg.connect(url, autocommit=True) as looking:
        locking.execute("LOCK TABLE devices_device IN ACCESS EXCLUSIVE MODE")

        def waiting() -> int:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'api_key_hash'"
            return int(looking.execute(query).fetchone()[0])  # type: ignore[index]

        yield waiting


def test_abandoned_questions_end_at_once_and_give_everything_back(server: Server, keys: dict[str, str]) -> None:
    before = figures(server)
    with locked(server) if connection.vendor == "postgresql" else contextlib.nullcontext(None) as waiting:
        asyncio.run(abandon_many(server, keys))
        deadline = time.monotonic() + ENDED_SECONDS_MAX
        while waiting and waiting() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not waiting or waiting() == 0
    while (after := figures(server))["telemetry_questions"] > 1:  # 1: the request for the metrics itself
        assert time.monotonic() < deadline
    assert after["telemetry_requests_abandoned_total"] - before["telemetry_requests_abandoned_total"] >= 4

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.url, timeout=20) as client:
            return await asyncio.gather(
                *(client.get(f"/api/v1/devices/{name}", headers={"X-API-Key": key}) for name, key in keys.items())
            )

    assert {response.status_code for response in asyncio.run(ask())} == {200}


async def work_steadily(server: Server, keys: dict[str, str], *, seconds: float) -> list[float]:
    """Devices post and read their latest reading; asserts success. Returns the duration of each post in seconds."""
    took: list[float] = []

    async def work(name: str) -> None:
        async with httpx.AsyncClient(base_url=server.url, headers={"X-API-Key": keys[name]}, timeout=20) as client:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                began = time.monotonic()
                answer = await client.post("/api/v1/ingest", json={"temperature": 1})
                took.append(time.monotonic() - began)
                assert answer.status_code == 201, answer.text
                answer = await client.get(f"/api/v1/devices/{name}/latest")
                assert answer.status_code == 200, answer.text
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        for name in keys:
            if name != "greedy":
                group.create_task(work(name))
    return sorted(took)


async def be_greedy(server: Server, key: str) -> None:
    """Sends 25 expensive queries at once, again and again, and abandons each after half a second."""
    async with asyncio.TaskGroup() as group:
        for _ in range(25):
            group.create_task(be_greedy_in_one_loop(server, key))


async def be_greedy_in_one_loop(server: Server, key: str) -> None:
    while True:
        await abandon(server, key, EXPENSIVE)


def quantile(sorted_values: list[float], part: float) -> float:
    return sorted_values[int(part * (len(sorted_values) - 1))]


def test_a_greedy_caller_takes_nothing_from_the_others(server: Server, keys: dict[str, str]) -> None:
    async def story() -> tuple[list[float], list[float]]:
        idle = await work_steadily(server, keys, seconds=POSTING_SECONDS)
        greedy = asyncio.create_task(be_greedy(server, keys["greedy"]))
        try:
            beside = await work_steadily(server, keys, seconds=POSTING_SECONDS)
        finally:
            greedy.cancel()
            await asyncio.wait([greedy])
        return idle, beside

    idle, beside = asyncio.run(story())
    # If the machine is busy, posts are as slow without the greedy caller.
    assert quantile(beside, 0.99) < max(P99_SECONDS_MAX, 3 * quantile(idle, 0.99))
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"

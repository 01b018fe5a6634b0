"""Clients leave while their requests wait for a locked table: every connection returns to its pool."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

# On daphne longer than its time for a request whose client left (`application_close_timeout`: 10 s).
LOCKED_SECONDS = {"daphne": 13, "uvicorn": 4}
LEAVES_AFTER_SECONDS = 1
REQUESTS = 20
# More requests at once than any pool has connections.
CALLERS = 50
RECOVERY_SECONDS_MAX = 10
ANSWER_SECONDS_MAX = 60
# Seconds within which all requests that wait for the lock have reached it, and then those in which no other came.
WAITING_SECONDS = 5
UNCHANGED_SECONDS = 2
PATHS = ("history?limit=100", "aggregate?start=-24h", "history?format=csv")
# Tables that these requests read, but that are not needed to look up a key.
QUESTIONED = ("readings_reading", "devices_devicestate")
# Tables that a page of history reads, but background work only just after a reading was stored.
HISTORY = ("readings_reading",)
ATTEMPTS = 3
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'"


def questions(keys: dict[str, str], number: int) -> Iterator[tuple[str, str]]:
    """Paths with the key for each: of each device its own, for the list of devices the administrator's."""
    entries = list(keys.items())
    for count in range(number):
        device_id, key = entries[count // (len(PATHS) + 1) % len(entries)]
        which = count % (len(PATHS) + 1)
        if which == len(PATHS):
            yield "/api/v1/devices?status=online", ADMIN_KEY
        else:
            yield f"/api/v1/devices/{device_id}/{PATHS[which]}", key


async def ask_and_leave(server: Server, asked: Sequence[tuple[str, str]]) -> None:
    """Sends all requests at once; each client closes its connection after LEAVES_AFTER_SECONDS."""

    async def one(path: str, key: str) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode())
            await asyncio.sleep(LEAVES_AFTER_SECONDS)
            writer.transport.abort()

    await asyncio.gather(*(one(path, key) for path, key in asked))


@contextmanager
def locked(postgresql: PostgreSQL, tables: Sequence[str]) -> Iterator[None]:
    """Locks these tables from another session during the block."""
    with psycopg.connect(postgresql.url) as holder:
        holder.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield
        holder.rollback()


def connections_for_questions(postgresql: PostgreSQL, server: Server, keys: dict[str, str]) -> int:
    """The number of requests that get a connection at once: of CALLERS, as many wait for the lock."""

    def ask(entry: tuple[str, str]) -> int:
        path = f"/api/v1/devices/{entry[0]}/history"
        return httpx.get(f"{server.url}{path}", headers={"X-API-Key": entry[1]}, timeout=ANSWER_SECONDS_MAX).status_code

    most = 0
    with ThreadPoolExecutor(len(keys)) as callers, psycopg.connect(postgresql.url, autocommit=True) as observer:
        with locked(postgresql, HISTORY):
            answers = [callers.submit(ask, entry) for entry in keys.items()]
            deadline = time.monotonic() + WAITING_SECONDS
            grown = deadline
            while time.monotonic() < min(deadline, grown + UNCHANGED_SECONDS):
                row = observer.execute(WAITING).fetchone()
                if row and row[0] > most:
                    most, grown = row[0], time.monotonic()
                time.sleep(0.05)
        assert {answer.result() for answer in answers} <= {200, 503}
    return most


def serves(server: Server, keys: dict[str, str]) -> bool:
    """Whether posts and queries are answered normally."""
    headers = {"X-API-Key": next(iter(keys.values()))}
    stored = httpx.post(
        f"{server.url}/api/v1/ingest", json={"temperature": 1}, headers=headers, timeout=ANSWER_SECONDS_MAX
    )
    answers = [
        httpx.get(f"{server.url}{path}", headers={"X-API-Key": key}, timeout=ANSWER_SECONDS_MAX)
        for path, key in questions(keys, 2 * (len(PATHS) + 1))
    ]
    return stored.status_code == 201 and {answer.status_code for answer in answers} == {200}


class Abandoned:
    """A server with devices; `happens()` sends requests, leaves, and measures the remaining capacity."""

    def __init__(self, postgresql: PostgreSQL, server: Server) -> None:
        self.postgresql, self.server = postgresql, server
        self.keys = {f"d-{number}": server.register(f"d-{number}") for number in range(CALLERS)}
        assert serves(server, self.keys)
        # Use each key once first, because unknown keys count for their address, which all clients share.
        for device_id, key in self.keys.items():
            known = httpx.get(f"{server.url}/api/v1/devices/{device_id}", headers={"X-API-Key": key}, timeout=30)
            assert known.status_code == 200
        # The smaller of two, because background work may have waited for the lock too.
        self.connections = min(connections_for_questions(postgresql, server, self.keys) for _ in range(2))
        assert self.connections > 0

    def happens(self, *, requests: int, locked_seconds: float) -> float:
        """Seconds until it serves as before. Raises AssertionError if a connection is missing then."""
        with locked(self.postgresql, QUESTIONED):
            unlocked = time.monotonic() + locked_seconds
            asyncio.run(ask_and_leave(self.server, list(questions(self.keys, requests))))
            time.sleep(max(0.0, unlocked - time.monotonic()))
        since = time.monotonic()
        while not serves(self.server, self.keys):
            assert time.monotonic() < since + RECOVERY_SECONDS_MAX, "it does not serve as before"
            time.sleep(0.1)
        recovered = time.monotonic() - since
        left = 0
        for _ in range(ATTEMPTS):
            # Repeated, because a connection may be busy for a moment, but a lost one stays lost.
            left = max(left, connections_for_questions(self.postgresql, self.server, self.keys))
            if left >= self.connections:
                break
        assert left >= self.connections, f"{self.connections} connections before, {left} afterwards"
        return recovered


@pytest.mark.parametrize("name", LOCKED_SECONDS)
def test_requests_whose_clients_leave_give_their_connections_back(tmp_path: Path, name: str) -> None:
    with PostgreSQL() as postgresql:
        server = Server(tmp_path, database_url=postgresql.url, uvicorn=name == "uvicorn")
        # All clients of this test have one address.
        server.environment["CONNECTIONS_PER_ADDRESS"] = "1000"
        with server:
            Abandoned(postgresql, server).happens(requests=REQUESTS, locked_seconds=LOCKED_SECONDS[name])

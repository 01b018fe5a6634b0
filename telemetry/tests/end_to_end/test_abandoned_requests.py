"""Clients that leave while their requests wait for a locked table: every connection comes back to its pool."""

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

from telemetry.tests.support.postgresql import PostgreSQL
from telemetry.tests.support.server import ADMIN_KEY, Server

pytestmark = pytest.mark.e2e

# Longer than daphne leaves a request whose client is gone (`application_close_timeout`: 10 s).
LOCKED_SECONDS = 13
LEAVES_AFTER_SECONDS = 1
REQUESTS = 20
# More questions at once than any pool has connections.
CALLERS = 50
RECOVERY_SECONDS_MAX = 10
ANSWER_SECONDS_MAX = 60
# What waits for the lock has got there within this.
WAITING_SECONDS = 5
PATHS = ("history?limit=100", "aggregate?start=-24h", "history?format=csv")
# What each of these questions reads, and nothing that says whose key a request came with.
QUESTIONED = ("readings_reading", "devices_devicestate")
# What a page of history reads, and what runs in the background does not, unless a reading has just been stored.
HISTORY = ("readings_reading",)
ATTEMPTS = 3
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND backend_type = 'client backend'"


def questions(keys: dict[str, str], number: int) -> Iterator[tuple[str, str]]:
    """So many paths with the key to ask with: of each device its own, the list of devices for the administrator."""
    entries = list(keys.items())
    for count in range(number):
        device_id, key = entries[count // (len(PATHS) + 1) % len(entries)]
        which = count % (len(PATHS) + 1)
        if which == len(PATHS):
            yield "/api/v1/devices?status=online", ADMIN_KEY
        else:
            yield f"/api/v1/devices/{device_id}/{PATHS[which]}", key


async def ask_and_leave(server: Server, asked: Sequence[tuple[str, str]]) -> None:
    """Asks all at once; each client closes its connection after LEAVES_AFTER_SECONDS."""

    async def one(path: str, key: str) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n".encode())
            await asyncio.sleep(LEAVES_AFTER_SECONDS)
            writer.transport.abort()

    await asyncio.gather(*(one(path, key) for path, key in asked))


@contextmanager
def locked(postgresql: PostgreSQL, tables: Sequence[str]) -> Iterator[None]:
    """While these tables are locked by somebody else."""
    with psycopg.connect(postgresql.url) as holder:
        holder.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        yield
        holder.rollback()


def connections_for_questions(postgresql: PostgreSQL, server: Server, keys: dict[str, str]) -> int:
    """How many questions get a connection at a time: of CALLERS that ask at once, as many wait for the lock."""

    def ask(entry: tuple[str, str]) -> int:
        path = f"/api/v1/devices/{entry[0]}/history"
        return httpx.get(f"{server.url}{path}", headers={"X-API-Key": entry[1]}, timeout=ANSWER_SECONDS_MAX).status_code

    most = 0
    with ThreadPoolExecutor(len(keys)) as callers, psycopg.connect(postgresql.url, autocommit=True) as observer:
        with locked(postgresql, HISTORY):
            answers = [callers.submit(ask, entry) for entry in keys.items()]
            deadline = time.monotonic() + WAITING_SECONDS
            while time.monotonic() < deadline:
                row = observer.execute(WAITING).fetchone()
                most = max(most, row[0] if row else 0)
                time.sleep(0.05)
        assert {answer.result() for answer in answers} <= {200, 503}
    return most


def serves(server: Server, keys: dict[str, str]) -> bool:
    """Whether posts and questions are answered as they are on a day without trouble."""
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
    """A server with devices; `happens()` makes requests, leaves, and looks what is left of the server."""

    def __init__(self, postgresql: PostgreSQL, server: Server) -> None:
        self.postgresql, self.server = postgresql, server
        self.keys = {f"d-{number}": server.register(f"d-{number}") for number in range(CALLERS)}
        assert serves(server, self.keys)
        # A key that is not known yet counts to its address, which all of them share.
        for device_id, key in self.keys.items():
            known = httpx.get(f"{server.url}/api/v1/devices/{device_id}", headers={"X-API-Key": key}, timeout=30)
            assert known.status_code == 200
        # The smaller of two: something in the background may have waited as well.
        self.connections = min(connections_for_questions(postgresql, server, self.keys) for _ in range(2))
        assert self.connections > 0

    def happens(self, *, requests: int, locked_seconds: float) -> float:
        """After how many seconds it serves as before. Raises AssertionError where a connection is missing then."""
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
            # One may be busy with something else just then, and one that is lost stays lost.
            left = max(left, connections_for_questions(self.postgresql, self.server, self.keys))
            if left >= self.connections:
                break
        assert left >= self.connections, f"{self.connections} connections before, {left} afterwards"
        return recovered


@pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"])
def test_requests_whose_clients_leave_give_their_connections_back(tmp_path: Path, uvicorn: bool) -> None:
    with PostgreSQL() as postgresql:
        server = Server(tmp_path, database_url=postgresql.url, uvicorn=uvicorn)
        # All clients come from one address here.
        server.environment["CONNECTIONS_PER_ADDRESS"] = "1000"
        with server:
            Abandoned(postgresql, server).happens(requests=REQUESTS, locked_seconds=LOCKED_SECONDS)

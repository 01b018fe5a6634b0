"""Sockets whose credential another process revokes: closed within a second, without later readings."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import httpx
import psycopg
import pytest
import websockets
from websockets.sync.client import connect

from telemetry.tests.end_to_end.servers.test_no_key_leaves import sign_in
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

ADMIN = {"X-API-Key": ADMIN_KEY}
CLOSED_SECONDS = 1.0


class Watcher:
    """A socket, read in a thread until it is closed; `seqs` are of all watched devices."""

    def __init__(self, server: Server, address: str, headers: dict[str, str]) -> None:
        self.address = f"{server.url}/api/v1/realtime/subscribe/{address}".replace("http", "ws", 1)
        self.headers = headers
        self.seqs: list[int] = []
        self.closed_at = 0.0
        self.code: int | None = None
        self.begun, self.enough = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.read)

    def __enter__(self) -> Self:
        self.thread.start()
        assert self.begun.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.enough.set()
        self.thread.join()

    def read(self) -> None:
        with connect(self.address, additional_headers=self.headers, close_timeout=0.5) as socket:
            try:
                while not self.enough.is_set():
                    self.take(json.loads(socket.recv(timeout=10)))
            except websockets.ConnectionClosed:
                self.closed_at, self.code = time.monotonic(), socket.close_code

    def take(self, frame: dict[str, Any]) -> None:
        if frame["type"] in ("subscribed", "positions"):
            self.begun.set()
        elif frame["type"] == "readings":
            self.seqs += [reading["seq"] for reading in frame["readings"]]


class Writer:
    """Posts one reading after the other; `begun` has the start time of each post by its seq."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.begun: dict[int, float] = {}
        self.running = True
        self.thread = threading.Thread(target=self.post)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.running = False
        self.thread.join()

    def post(self) -> None:
        with httpx.Client(base_url=f"{self.server.url}/api/v1", headers={"X-API-Key": FLEET_KEY}) as client:
            while self.running:
                began = time.monotonic()
                answer = client.post("/ingest", json={"device_id": "mote-1", "temperature": 1})
                assert answer.status_code == 201, answer.text
                self.begun[answer.json()["seq"]] = began


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    """A server on daphne, and one on uvicorn beside it."""
    folder: Path = tmp_path_factory.mktemp("servers")
    with Server(folder) as one, Server(folder, beside=one, uvicorn=True) as other:
        one.register("mote-1")
        one.register("mote-2")
        yield one, other


def in_sql(server: Server, statement: str) -> None:
    """Runs a statement on the database directly, without code of the product."""
    address = server.environment["DATABASE_URL"]
    if address.startswith("sqlite"):
        with sqlite3.connect(address.removeprefix("sqlite:///"), timeout=5) as database:
            database.execute(statement)
        database.close()
    else:
        with psycopg.connect(address) as connection:
            connection.execute(statement)


def rotate(server: Server) -> str:
    body = {"overlap_seconds": 0}
    answer = httpx.post(f"{server.url}/api/v1/devices/mote-1/rotate-key", json=body, headers=ADMIN)
    return str(answer.raise_for_status().json()["api_key"])


def by_key(watched: Server, other: Server) -> tuple[str, dict[str, str], Callable[[], object]]:
    return "mote-1", {"X-API-Key": rotate(other)}, lambda: rotate(other)


def by_ticket(watched: Server, other: Server) -> tuple[str, dict[str, str], Callable[[], object]]:
    answer = httpx.post(f"{watched.url}/api/v1/realtime/tickets", headers={"X-API-Key": rotate(other)})
    return f"mote-1?ticket={answer.raise_for_status().json()['ticket']}", {}, lambda: rotate(other)


def by_session(watched: Server, other: Server) -> tuple[str, dict[str, str], Callable[[], object]]:
    up = watched if "up" in watched.command else other
    session = sign_in(up, up.password())
    headers = {"Cookie": f"sessionid={session}", "Origin": watched.url}
    # Of the whole fleet.
    return "", headers, lambda: in_sql(watched, f"DELETE FROM django_session WHERE session_key = '{session}'")


@pytest.mark.parametrize("how", [by_key, by_ticket, by_session], ids=lambda how: how.__name__)
@pytest.mark.parametrize("watched", [0, 1], ids=["daphne", "uvicorn"])
def test_it_is_closed_within_a_second_and_told_of_nothing_later(servers: Any, watched: int, how: Any) -> None:
    one, other = servers[watched], servers[1 - watched]
    address, headers, revoke = how(one, other)
    with Writer(other) as writer, Watcher(one, "mote-1", ADMIN) as witness, Watcher(one, address, headers) as watcher:
        deadline = time.monotonic() + 10
        while len(watcher.seqs) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        revoke()
        revoked_at = time.monotonic()
        watcher.thread.join(10)
        assert watcher.code == 4401
        assert watcher.closed_at - revoked_at < CLOSED_SECONDS
        while time.monotonic() < revoked_at + CLOSED_SECONDS:
            time.sleep(0.01)
    later = {seq for seq, began in writer.begun.items() if began > revoked_at}
    assert len(later) > 20
    assert not later & set(watcher.seqs)
    assert len(watcher.seqs) >= 20
    assert witness.seqs == list(range(witness.seqs[0], witness.seqs[-1] + 1))
    assert later & set(witness.seqs)


def test_a_device_that_is_deactivated_is_cut_off(servers: Any) -> None:
    one, other = servers
    key = rotate(other)
    with Watcher(one, "mote-1", {"X-API-Key": key}) as watcher:
        address = f"{other.url}/api/v1/devices/mote-1"
        httpx.patch(address, json={"is_active": False}, headers=ADMIN).raise_for_status()
        revoked_at = time.monotonic()
        watcher.thread.join(10)
        assert watcher.code == 4401
        assert watcher.closed_at - revoked_at < CLOSED_SECONDS
        httpx.patch(address, json={"is_active": True}, headers=ADMIN).raise_for_status()

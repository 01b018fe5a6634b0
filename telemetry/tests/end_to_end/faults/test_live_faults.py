"""Faults of the live stream: every client gets every reading once, in order, within ten seconds."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from telemetry.tests.support.clients.audience import Audience
from telemetry.tests.support.clients.raw import wait_until
from telemetry.tests.support.servers.redis_server import Proxy, Redis, one_in
from telemetry.tests.support.servers.server import FLEET_KEY, UVICORN, Server

pytestmark = pytest.mark.e2e

DEVICES = ("d-0", "d-1", "d-2")
WATCHERS = dict.fromkeys(DEVICES, 5)
FLEETS = 2


class Writer:
    """Posts to these servers in turn, one reading of each device after the other, until it is acknowledged."""

    def __init__(self, servers: list[Server], pause: float = 0.01) -> None:
        self.servers = servers
        self.pause = pause
        self.posted: Counter[str] = Counter()
        self.slowest = 0.0
        self.running = True

    @contextmanager
    def posting(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.post, args=(device,)) for device in DEVICES]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.running = False
            for thread in threads:
                thread.join()

    def post(self, device: str) -> None:
        with httpx.Client(headers={"X-API-Key": FLEET_KEY}, timeout=30) as client:
            while self.running:
                self.one(client, device)
                time.sleep(self.pause)

    def one(self, client: httpx.Client, device: str) -> None:
        server = self.servers[self.posted[device] % len(self.servers)]
        reading = {"device_id": device, "temperature": self.posted[device]}
        started = time.monotonic()
        try:
            answer = client.post(f"{server.url}/api/v1/ingest", json=reading)
        except httpx.TransportError:
            # It may be stored or not; the length of the log shows it later.
            time.sleep(0.1)
            return
        self.slowest = max(self.slowest, time.monotonic() - started)
        assert answer.status_code == 201, answer.text
        self.posted[device] += 1


def lengths(server: Server) -> dict[str, int]:
    headers = {"X-API-Key": "admin-key-of-the-server-0123456789"}
    return {
        device: httpx.get(f"{server.url}/api/v1/devices/{device}", headers=headers).json()["last_seq"]
        for device in DEVICES
    }


def register(server: Server) -> None:
    for device in DEVICES:
        server.register(device)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    with Redis(tmp_path) as server:
        yield server


@pytest.mark.parametrize("uvicorn", UVICORN)
def test_redis_is_killed_and_comes_back(tmp_path: Path, redis: Redis, uvicorn: bool) -> None:
    with Server(tmp_path, redis_url=redis.url, uvicorn=uvicorn) as server:
        register(server)
        writer = Writer([server])
        with Audience([server], devices=WATCHERS, fleets=FLEETS) as audience:
            with writer.posting():
                time.sleep(1.5)
                redis.kill()
                before = dict(writer.posted)
                time.sleep(4)
                meanwhile = [writer.posted[device] - before[device] for device in DEVICES]
                redis.start()
                time.sleep(3)
            audience.ends_complete(lengths(server))
            assert all(client.connections == 1 for client in audience.clients)
        logged = server.log.read_text()
    assert min(meanwhile) > 10
    # One line when it fails, one when it works again, and no traceback every second.
    assert logged.count("stored but not announced") == 1
    assert logged.count("The channel layer answers again") == 1
    assert "Traceback" not in logged


def test_one_message_in_ten_is_lost(tmp_path: Path, redis: Redis) -> None:
    with Proxy(redis, loses=one_in(10)) as proxy, Server(tmp_path, redis_url=proxy.url) as server:
        register(server)
        with Audience([server], devices=WATCHERS, fleets=FLEETS) as audience:
            with Writer([server]).posting():
                time.sleep(4)
            audience.ends_complete(lengths(server))
        assert proxy.lost > 20


def test_the_last_message_is_lost(tmp_path: Path, redis: Redis) -> None:
    losing = threading.Event()
    with Proxy(redis, loses=losing.is_set) as proxy, Server(tmp_path, redis_url=proxy.url) as server:
        register(server)
        writer = Writer([server])
        with Audience([server], devices=WATCHERS, fleets=FLEETS) as audience:
            with writer.posting():
                time.sleep(1)
            audience.ends_complete(lengths(server))
            losing.set()
            with httpx.Client(headers={"X-API-Key": FLEET_KEY}) as client:
                for device in DEVICES:
                    writer.one(client, device)
            audience.ends_complete(lengths(server))
        assert proxy.lost >= len(DEVICES)


def test_two_processes_announce_in_the_wrong_order(tmp_path: Path, redis: Redis) -> None:
    with (
        Proxy(redis, delay=lambda: 0.2) as slow,
        Server(tmp_path, redis_url=redis.url) as one,
        Server(tmp_path, redis_url=slow.url, beside=one) as other,
    ):
        register(one)
        writer = Writer([one, other])
        with Audience([one, other], devices=WATCHERS, fleets=FLEETS) as audience:
            with writer.posting():
                time.sleep(4)
            audience.ends_complete(lengths(one))


def test_the_server_is_restarted_again_and_again_while_clients_resume(tmp_path: Path) -> None:
    with Server(tmp_path) as one, Server(tmp_path, beside=one) as other:
        register(one)
        writer = Writer([other])
        with Audience([one, other], devices=WATCHERS, fleets=FLEETS) as audience:
            with writer.posting():
                for _ in range(3):
                    time.sleep(0.7)
                    one.process.kill()
                    one.process.wait()
                    one.start()
            audience.ends_complete(lengths(other))
            assert any(client.connections > 1 for client in audience.clients)


@pytest.mark.alone
@pytest.mark.once
@pytest.mark.parametrize("how", ["stopped", "hanging"])
def test_no_ingest_waits_for_redis(tmp_path: Path, redis: Redis, how: str) -> None:
    """Ingest does not wait for a hanging Redis. `make bench-live` measures the rates."""
    hanging = threading.Event()
    with (
        Proxy(redis, delay=lambda: 60 if hanging.is_set() else 0) as proxy,
        Server(tmp_path, redis_url=proxy.url) as server,
    ):
        register(server)
        writer = Writer([server])
        with Audience([server], devices=WATCHERS, fleets=FLEETS) as audience:
            if how == "stopped":
                redis.kill()
            hanging.set()
            with writer.posting():
                assert wait_until(lambda: len(writer.posted) == 3 and min(writer.posted.values()) > 50, seconds=60)
            audience.ends_complete(lengths(server))
    # Announcing waits for a second, so a post that waited for it would take at least that long.
    assert writer.slowest < 1

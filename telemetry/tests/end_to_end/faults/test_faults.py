"""A fleet, and faults of server and network: nothing acknowledged is lost, and nothing is stored twice."""

import random
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from django.conf import settings
from django.db import connection

from telemetry.tests.support.clients.fleet import Fleet
from telemetry.tests.support.clients.raw import some_of, wait_until
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.long]

WRITERS = 64
# `make prove` kills more often.
KILLS = 8
# Statuses after which a client repeats its post. None on PostgreSQL, where concurrent writers wait for each other.
PASSING = {503} if connection.vendor == "sqlite" else set()


def post_batch(url: str, readings: list[dict[str, object]]) -> dict[str, object]:
    """Posts as a gateway, and repeats it if the status is one of PASSING."""
    while True:
        answer = httpx.post(f"{url}/api/v1/ingest/batch", json=readings, headers={"X-API-Key": FLEET_KEY}, timeout=30)
        if answer.status_code not in PASSING:
            assert answer.status_code == 201, answer.text
            return dict(answer.json())
        time.sleep(random.uniform(0.05, 0.2))


def test_64_writers_on_two_processes_number_every_log_without_a_hole(tmp_path: Path) -> None:
    devices = [f"d-{number}" for number in range(10)]

    def write(server: Server, chance: random.Random) -> list[tuple[str, str]]:
        """The stored (device, id) pairs. Every third batch repeats some readings."""
        stored: list[tuple[str, str]] = []
        for number in range(6):
            new = [(chance.choice(devices), str(uuid4())) for _ in range(20)]
            again = chance.sample(stored, 5) if number % 3 == 2 else []
            readings = [
                {"device_id": name, "id": identifier, "temperature": number} for name, identifier in new + again
            ]
            chance.shuffle(readings)
            answer = post_batch(server.url, readings)
            assert (answer["accepted"], answer["duplicates"]) == (20, len(again))
            stored += new
        return stored

    with Server(tmp_path) as one, Server(tmp_path, beside=one) as two, ThreadPoolExecutor(WRITERS) as writers:
        for name in devices:
            one.register(name)
        futures = [writers.submit(write, (one, two)[n % 2], random.Random(n)) for n in range(WRITERS)]
        stored = [entry for future in futures for entry in future.result()]

        for name in devices:
            assert set(one.log_of(name)) == {identifier for device, identifier in stored if device == name}


def test_the_same_ids_of_two_devices_in_opposite_orders_are_stored_for_both(tmp_path: Path) -> None:
    with Server(tmp_path) as one, Server(tmp_path, beside=one) as two, ThreadPoolExecutor(2) as gateways:
        for name in ("d-1", "d-2"):
            one.register(name)

        def post(server: Server, name: str, ids: list[str]) -> httpx.Response:
            readings = [{"device_id": name, "id": identifier, "temperature": 1} for identifier in ids]
            headers = {"X-API-Key": FLEET_KEY}
            return httpx.post(f"{server.url}/api/v1/ingest/batch", json=readings, headers=headers, timeout=30)

        stored: dict[str, set[str]] = {"d-1": set(), "d-2": set()}
        for _ in range(15):
            ids = [str(uuid4()) for _ in range(300)]
            answers = list(gateways.map(post, (one, two), ("d-1", "d-2"), (ids, ids[::-1])))

            assert {answer.status_code for answer in answers} <= {201, *PASSING}
            for name, answer in zip(("d-1", "d-2"), answers, strict=True):
                if answer.status_code == 201:
                    assert answer.json()["accepted"] == len(ids)
                    stored[name].update(ids)
        assert stored["d-1"] & stored["d-2"]
        for name in ("d-1", "d-2"):
            assert stored[name] <= set(one.log_of(name))


def test_a_server_killed_again_and_again_has_every_reading_once(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        fleet = Fleet(server, 16)
        with fleet.posting():
            for _ in range(KILLS):
                fleet.wait_for_an_answer()
                time.sleep(random.uniform(0.2, 0.5))
                server.process.kill()
                server.process.wait()
                server.start()
            fleet.wait_for_an_answer()
        assert {status for _, status, _ in fleet.answers} <= {200, 201, *PASSING}
        fleet.check()


class ForgetfulProxy:
    """Forwards requests and receives the answers; for some it closes the connection instead of answering the client."""

    def __init__(self, port: int, forgets: Callable[[], bool]) -> None:
        self.server = port
        self.forgets = forgets
        self.forgotten = 0
        self.listener = socket.create_server(("127.0.0.1", free_port()))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self.server)) as server:
            request = b""
            while b"\r\n\r\n" not in request:
                request += some_of(client)
            head, _, body = request.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            while len(body) < length:
                body += some_of(client)
            server.sendall(head + b"\r\n\r\n" + body)
            answer = b""
            while chunk := server.recv(65536):
                answer += chunk
            if self.forgets():
                self.forgotten += 1
            else:
                client.sendall(answer)


def test_answers_that_are_lost_after_the_commit_and_retried_in_other_batches_store_nothing_twice(
    tmp_path: Path,
) -> None:
    devices = [f"d-{number}" for number in range(5)]

    def write(proxy: ForgetfulProxy, chance: random.Random) -> list[tuple[str, str]]:
        readings = [(chance.choice(devices), str(uuid4())) for _ in range(150)]
        waiting = list(readings)
        while waiting:
            chance.shuffle(waiting)
            batch = waiting[: chance.choice([1, 5, 40])]
            documents = [{"device_id": name, "id": identifier, "temperature": 1} for name, identifier in batch]
            single = len(documents) == 1
            headers = {"X-API-Key": FLEET_KEY, "Connection": "close"}
            try:
                answer = httpx.post(
                    f"{proxy.url}/api/v1/ingest" + ("" if single else "/batch"),
                    json=documents[0] if single else documents,
                    headers=headers,
                    timeout=30,
                )
            except httpx.TransportError:
                continue
            assert answer.status_code in {200, 201, *PASSING}
            if answer.is_success:
                waiting = waiting[len(batch) :]
        return readings

    with Server(tmp_path) as server, ThreadPoolExecutor(8) as writers:
        for name in devices:
            server.register(name)
        proxy = ForgetfulProxy(server.port, forgets=lambda: random.random() < 0.4)
        futures = [writers.submit(write, proxy, random.Random(number)) for number in range(8)]
        sent = [reading for future in futures for reading in future.result()]
        proxy.listener.close()

        assert proxy.forgotten > 20
        for name in devices:
            assert set(server.log_of(name)) == {identifier for device, identifier in sent if device == name}


def posted(server: Server) -> int:
    """How many readings of the simulated devices are stored."""
    headers = {"X-API-Key": ADMIN_KEY}
    devices = httpx.get(f"{server.url}/api/v1/devices?search=sim-", headers=headers, timeout=30).json()["results"]
    return sum(device["last_seq"] for device in devices)


def test_a_fleet_with_outages_and_a_server_that_is_killed_agree_in_the_end(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        command = [sys.executable, "manage.py", "simulate", "--devices=20", "--interval=0.2", "--duration=8"]
        command += ["--outage-every=2", "--outage-length=1", f"--url={server.url}"]
        fleet = subprocess.Popen(
            command, env=server.environment, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert wait_until(lambda: posted(server) > 200, seconds=60)
        server.process.kill()
        server.process.wait()
        server.start()
        printed = fleet.communicate(timeout=60)[0].decode()

    assert fleet.returncode == 0, printed
    verdict = re.search(r"(\d+) acknowledged, (\d+) of them stored: 0 lost, 0 doubled, 0 misdated", printed)
    assert verdict, printed
    assert verdict[1] == verdict[2]
    assert int(verdict[1]) > 200

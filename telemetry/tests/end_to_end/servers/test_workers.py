"""`manage.py serve --workers N`: several processes on one port."""

import os
import re
import signal
import subprocess
import sys
import threading
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import httpx
import psycopg
import pytest

from telemetry.tests.support.clients.raw import wait_until
from telemetry.tests.support.servers.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

DEVICES = 6
# Seconds between two posts of a device, so that the workers have time to start on a busy machine.
PAUSE_SECONDS = 0.02
SECONDS = 60


class Workers(Server):
    """Two workers on one port."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self.command = [sys.executable, "manage.py", "serve", "--workers", "2", *options]

    def start(self) -> None:
        super().start()
        assert wait_until(lambda: "Serving with 2 workers." in self.log.read_text(), seconds=SECONDS), (
            self.log.read_text()
        )

    def workers(self) -> set[int]:
        """The process ids of the workers."""
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True)
        return {int(pid) for pid in found.stdout.split()}

    def is_ready(self) -> bool:
        return httpx.get(f"{self.url}/health/ready").status_code == 200


class Poster:
    """A device that posts on kept-alive connections, or with `fresh` each time on a new one."""

    def __init__(self, server: Server, device_id: str, *, fresh: bool) -> None:
        self.server, self.device_id = server, device_id
        self.headers = {"X-API-Key": server.register(device_id), **({"Connection": "close"} if fresh else {})}
        self.acknowledged: list[str] = []
        self.failed: list[str] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.post)

    def post(self) -> None:
        with httpx.Client(headers=self.headers, timeout=30) as client:
            while not self.stop.wait(PAUSE_SECONDS):
                try:
                    answer = client.post(f"{self.server.url}/api/v1/ingest", json={"temperature": 21.5})
                except httpx.ConnectError:
                    return  # the port is closed
                except httpx.TransportError as error:
                    self.failed.append(repr(error))
                    continue
                if answer.status_code == 201:
                    self.acknowledged.append(answer.json()["id"])
                else:
                    self.failed.append(answer.text)


def stored(server: Server) -> dict[str, list[str]]:
    """The ids of each device's log. Read from the database, because no server runs."""
    with psycopg.connect(server.environment["DATABASE_URL"]) as database:
        rows = database.execute("SELECT device_id, id FROM readings_reading ORDER BY device_id, seq").fetchall()
    return {device_id: [str(id) for _, id in log] for device_id, log in groupby(rows, itemgetter(0))}


def start_posting(server: Server) -> list[Poster]:
    posters = [Poster(server, f"d-{number}", fresh=number % 2 == 0) for number in range(DEVICES)]
    for poster in posters:
        poster.thread.start()
    assert wait_until(lambda: all(poster.acknowledged for poster in posters), seconds=SECONDS)
    return posters


def test_workers_are_replaced_and_stopped_without_a_lost_or_failed_post(tmp_path: Path) -> None:
    with Workers(tmp_path, "--lead", "1") as server:
        before = server.workers()
        assert len(before) == 2
        posters = start_posting(server)

        server.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "All workers were replaced." in server.log.read_text(), seconds=2 * SECONDS)
        replaced = server.workers()
        assert len(replaced) == 2
        assert not replaced & before
        assert server.is_ready()

        server.process.terminate()
        assert wait_until(lambda: not server.is_ready(), seconds=SECONDS)
        assert server.process.wait(SECONDS) == 0
        for poster in posters:
            poster.thread.join()
        assert [failure for poster in posters for failure in poster.failed] == []
        assert "Traceback" not in server.log.read_text()
        assert {poster.device_id: poster.acknowledged for poster in posters} == stored(server)


def test_a_worker_that_dies_is_started_again_and_all_end_when_the_supervisor_dies(tmp_path: Path) -> None:
    with Workers(tmp_path) as server:
        before = server.workers()
        os.kill(min(before), signal.SIGKILL)
        assert wait_until(lambda: len(server.workers() - before) == 1, seconds=SECONDS)
        assert re.search(r"ended by itself \(SIGKILL\).* Another is started in [01] s", server.log.read_text())
        assert server.is_ready()

        workers = server.workers()
        assert len(workers) == 2
        server.process.kill()
        server.process.wait()
        assert wait_until(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers), seconds=SECONDS)

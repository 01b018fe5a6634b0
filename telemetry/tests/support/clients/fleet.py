"""Devices that post to a real server and record the answers."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import httpx

from telemetry.tests.support.servers.server import Server

ANSWER_SECONDS = 15
# Seconds after the load within which a device may retry until its last reading is acknowledged.
PATIENCE_SECONDS = 30


class Verdict(NamedTuple):
    """Counts of readings; `strange` ones are stored but were never sent."""

    acknowledged: int
    lost: int
    doubled: int
    strange: int


class Journal:
    """A file of the sent and acknowledged readings, one JSON line each, which the tested processes do not touch."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = path.open("a", buffering=1)

    def entries(self, what: str) -> list[tuple[str, str]]:
        """The (device, id) of all readings that were "sent" or "acknowledged"."""
        lines = map(json.loads, self.path.read_text().splitlines())
        return [(device_id, identifier) for kind, device_id, identifier in lines if kind == what]

    def verdict(self, server: Server, device_ids: list[str]) -> Verdict:
        """Compares the journal with the server's logs of these devices."""
        stored = [(name, identifier) for name in device_ids for identifier in server.log_of(name)]
        acknowledged = set(self.entries("acknowledged"))
        return Verdict(
            acknowledged=len(acknowledged),
            lost=len(acknowledged - set(stored)),
            doubled=len(stored) - len(set(stored)),
            strange=len(set(stored) - set(self.entries("sent"))),
        )

    def write(self, what: str, device_id: str, identifier: str) -> None:
        self.file.write(json.dumps([what, device_id, identifier]) + "\n")


class Fleet:
    """Devices that post one reading after the other, repeating each until it is acknowledged, while `running`.

    `pause` is in seconds, between two readings of a device.
    """

    def __init__(
        self, server: Server, size: int, *, journal: Path | None = None, pause: float = 0.0, prefix: str = "d"
    ) -> None:
        self.server = server
        self.pause = pause
        self.journal = Journal(journal or server.log.with_suffix(".journal"))
        self.keys = {name: server.register(name) for name in (f"{prefix}-{number}" for number in range(size))}
        self.sent: dict[str, list[str]] = {name: [] for name in self.keys}
        self.answers: list[tuple[float, int, float]] = []  # (time, status, duration in seconds)
        self.running = True
        self.gives_up_at = float("inf")
        self.threads = [threading.Thread(target=self.post, args=(name,)) for name in self.keys]

    @contextmanager
    def posting(self) -> Iterator[None]:
        for thread in self.threads:
            thread.start()
        try:
            yield
        finally:
            self.gives_up_at = time.monotonic() + PATIENCE_SECONDS
            self.running = False
            for thread in self.threads:
                thread.join()
            self.journal.file.close()

    def post(self, name: str) -> None:
        with httpx.Client(headers={"X-API-Key": self.keys[name]}, timeout=15) as client:
            while self.running:
                identifier = str(uuid4())
                self.sent[name].append(identifier)
                self.journal.write("sent", name, identifier)
                while not self.acknowledged(client, identifier):
                    if time.monotonic() > self.gives_up_at:
                        return
                    time.sleep(random.uniform(0.02, 0.1))
                self.journal.write("acknowledged", name, identifier)
                time.sleep(self.pause)

    def acknowledged(self, client: httpx.Client, identifier: str) -> bool:
        started = time.monotonic()
        try:
            answer = client.post(f"{self.server.url}/api/v1/ingest", json={"id": identifier, "temperature": 1})
        except httpx.TransportError:
            return False
        self.answers.append((time.monotonic(), answer.status_code, time.monotonic() - started))
        return answer.is_success

    def wait_for_an_answer(self) -> None:
        """Waits for one more acknowledged reading; fails if none arrives."""
        before, deadline = len(self.answers), time.monotonic() + ANSWER_SECONDS
        while len(self.answers) == before:
            assert time.monotonic() < deadline, "No answer from the server."
            time.sleep(0.01)

    def check(self) -> None:
        """Asserts that every sent reading is stored exactly once, as devices repeat each until it is acknowledged."""
        for name, ids in self.sent.items():
            assert set(self.server.log_of(name)) == set(ids)

    def verdict(self) -> Verdict:
        return self.journal.verdict(self.server, list(self.keys))


def seconds_until_acknowledged(answers: list[tuple[float, int, float]], since: float, *, within: float) -> float:
    """Seconds from `since` to the next 2xx in a fleet's answers. Raises AssertionError if none came in time."""
    deadline = since + within
    while True:
        if found := [when for when, status, _ in list(answers) if status < 300 and when > since]:
            return min(found) - since
        assert time.monotonic() < deadline, f"nothing was acknowledged within {within:.0f} s"
        time.sleep(0.05)

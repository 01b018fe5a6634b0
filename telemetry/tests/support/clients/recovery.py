"""Sends a server the same requests again and again, to measure how long a fault affects it."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import psycopg
import websockets
import websockets.sync.client
from django.conf import settings

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

ACCOUNT, PASSWORD = "prober", "password-of-the-prober"
# Seconds after which an answer counts as missing.
ANSWER_SECONDS_MAX = 20
PAUSE_SECONDS = 0.3
# Seconds; a slower answer was delayed by the fault.
USUAL_SECONDS_MAX = 2
ROLL_UP_SECONDS_MAX = 300


class Asked(NamedTuple):
    """A request: its times (`time.monotonic()`), whether the answer was as expected without a fault, and its error."""

    begun: float
    ended: float
    good: bool
    error: str


class Probe:
    """Sends one request again and again; an exception counts as a bad answer."""

    def __init__(self, name: str, ask: Callable[[], bool]) -> None:
        self.name, self.ask = name, ask
        self.asked: list[Asked] = []

    def run(self, stop: threading.Event) -> None:
        while not stop.wait(PAUSE_SECONDS):
            begun, good, error = time.monotonic(), False, ""
            try:
                good = self.ask()
            except (httpx.HTTPError, OSError, websockets.WebSocketException) as failure:
                error = repr(failure)
            self.asked.append(Asked(begun, time.monotonic(), good, error))

    def recovered(self, since: float) -> float:
        """Seconds from `since` to the last bad answer; 0.0 if there is none; infinite if no good one followed.

        A good answer that took longer than USUAL_SECONDS_MAX counts as a bad one.
        """
        later = [asked for asked in list(self.asked) if asked.ended > since]
        if not any(asked.good and asked.begun > since for asked in later) or not later[-1].good:
            return float("inf")
        return max((asked.ended - since for asked in self.felt(since)), default=0.0)

    def felt(self, since: float) -> list[Asked]:
        """The requests after `since` with a missing, bad or late answer."""
        return [
            asked
            for asked in list(self.asked)
            if asked.ended > since and not (asked.good and asked.ended - asked.begun < USUAL_SECONDS_MAX)
        ]


@contextmanager
def probing(probes: Sequence[Probe]) -> Iterator[None]:
    """Runs each probe in a thread of its own."""
    stop = threading.Event()
    threads = [threading.Thread(target=probe.run, args=(stop,)) for probe in probes]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def manage(server: Server, *arguments: str, **environment: str) -> None:
    """Runs a management command on the server's database."""
    command = [sys.executable, "manage.py", *arguments]
    subprocess.run(command, env=server.environment | environment, cwd=settings.BASE_DIR, check=True)


def roll_up(server: Server) -> None:
    """Runs maintenance until every reading is rolled up, even if another process maintains the database too."""
    command = [sys.executable, "manage.py", "maintain", "--once"]
    deadline = time.monotonic() + ROLL_UP_SECONDS_MAX
    said = ""
    while not said.startswith("0 readings"):
        assert time.monotonic() < deadline, said
        # It fails while the server's own maintenance runs.
        run = subprocess.run(command, env=server.environment, cwd=settings.BASE_DIR, capture_output=True, text=True)
        said = run.stdout


@contextmanager
def signed_in(server: Server) -> Iterator[httpx.Client]:
    """A client with the session of a new superuser."""
    create = ["createsuperuser", "--noinput", f"--username={ACCOUNT}", "--email=", "-v0"]
    manage(server, *create, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    with httpx.Client(base_url=server.url, timeout=ANSWER_SECONDS_MAX) as client:
        client.get("/admin/login/")
        form = {"username": ACCOUNT, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        assert client.post("/admin/login/", data=form).status_code == 302
        yield client


def get(server: Server, path: str, key: str = ADMIN_KEY) -> httpx.Response:
    return httpx.get(f"{server.url}{path}", headers={"X-API-Key": key}, timeout=ANSWER_SECONDS_MAX)


def is_healthy(server: Server) -> bool:
    answer = get(server, "/health")
    return answer.is_success and answer.json()["checks"]["database"] == "ok"


def replays(server: Server, device_id: str) -> bool:
    """Whether a new socket receives the device's log from its beginning."""
    address = f"ws://127.0.0.1:{server.port}/api/v1/realtime/subscribe/{device_id}?after=0"
    headers = {"X-API-Key": ADMIN_KEY}
    with websockets.sync.client.connect(
        address, additional_headers=headers, open_timeout=ANSWER_SECONDS_MAX, max_size=None
    ) as socket:
        for _ in range(5):
            frame = json.loads(socket.recv(timeout=ANSWER_SECONDS_MAX))
            if frame["type"] == "readings":
                return bool(frame["readings"][0]["seq"] == 1)
    return False


@contextmanager
def probed(server: Server, device_id: str) -> Iterator[list[Probe]]:
    """Probes of health, a page of history, a console page and a new live socket; `device_id` has readings."""
    history = f"/api/v1/devices/{device_id}/history?limit=5"
    with signed_in(server) as session:
        probes = [
            Probe("health", lambda: is_healthy(server)),
            Probe("questions", lambda: get(server, history).is_success),
            Probe("console", lambda: session.get("/admin/devices/device/").status_code == 200),
            Probe("new sockets", lambda: replays(server, device_id)),
        ]
        with probing(probes):
            yield probes


@contextmanager
def maintaining(server: Server) -> Iterator[None]:
    """Runs `manage.py maintain` beside a server without maintenance, such as one on uvicorn."""
    if server.maintains:
        yield
        return
    with server.log.with_suffix(".maintain.log").open("w") as log:
        command = [sys.executable, "manage.py", "maintain"]
        process = subprocess.Popen(command, env=server.environment, cwd=settings.BASE_DIR, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(ANSWER_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def round_since(database_url: str, moment: float, *, within: float) -> float:
    """Seconds from `moment` (`time.time()`) to the end of the next round of maintenance; infinite if there is none."""
    deadline = moment + within
    with psycopg.connect(database_url, autocommit=True) as connection:
        while True:
            row = connection.execute(
                "SELECT extract(epoch FROM min(finished_at))::float8 FROM readings_maintenanceround "
                "WHERE finished_at > to_timestamp(%s)",
                [moment],
            ).fetchone()
            if row and row[0] is not None:
                return float(row[0]) - moment
            if time.time() > deadline:
                return float("inf")
            time.sleep(0.2)

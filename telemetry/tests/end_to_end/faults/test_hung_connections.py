"""Connections to PostgreSQL that stop passing bytes while new ones work: the server recovers by itself."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from readings.upkeep.maintenance import INTERVAL_SECONDS
from telemetry.tests.support.clients.audience import Audience
from telemetry.tests.support.clients.fleet import Fleet
from telemetry.tests.support.clients.recovery import get, maintaining, probed, round_since
from telemetry.tests.support.servers.hanging_proxy import HangingProxy
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

DEVICES = 24
WATCHED = 4
# Seconds between two readings of a device: all together the server must have time to spare on a busy machine, so that
# a late answer is late because of the fault.
PAUSE_SECONDS = 0.1
RECOVERY_SECONDS_MAX = 10
# Seconds after the fault in which answers are checked: a bad connection in a pool may be used late.
OBSERVED_SECONDS = 16
STOP_SECONDS_MAX = 30


class Scene:
    """A server whose database is behind the proxy, with posting devices, sockets that watch them, and probes."""

    def __init__(self, postgresql: PostgreSQL, proxy: HangingProxy, server: Server) -> None:
        self.postgresql, self.proxy, self.server = postgresql, proxy, server
        self.fleet = Fleet(server, DEVICES, pause=PAUSE_SECONDS)
        self.watched = list(self.fleet.keys)[:WATCHED]
        self.audience = Audience([server], devices=dict.fromkeys(self.watched, 2), fleets=1)

    @contextmanager
    def running(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(maintaining(self.server))
            stack.enter_context(self.audience)
            stack.enter_context(self.fleet.posting())
            self.fleet.wait_for_an_answer()
            self.probes = stack.enter_context(probed(self.server, self.watched[0]))
            yield

    def questions_at_once(self) -> set[int]:
        """The statuses of a query by each device, all at once, to use as many connections as a pool has."""

        def ask(entry: tuple[str, str]) -> int:
            return get(self.server, f"/api/v1/devices/{entry[0]}/history?limit=1000", entry[1]).status_code

        with ThreadPoolExecutor(DEVICES) as callers:
            return set(callers.map(ask, self.fleet.keys.items()))

    def hang(self, passes_commit: bool | None) -> tuple[float, float]:
        """Stops all connections: now (None), or at the COMMIT of an ingest, passed on (True) or not (False).

        Returns the time, by `time.monotonic()` and by `time.time()`.
        """
        if passes_commit is None:
            self.proxy.hang()
        else:
            with self.proxy.hang_at_commit(passed_on=passes_commit) as hung:
                assert hung.wait(10), "no ingest has committed"
        return time.monotonic(), time.time()

    def felt_after(self, passes_commit: bool | None) -> dict[str, float]:
        """Stops all connections; returns for how many seconds each part of the server was affected."""
        self.questions_at_once()  # fills the pools
        since, moment = self.hang(passes_commit)
        # The readings sent so far; the last may not be acknowledged. After two more the device has recovered.
        wanted = {name: len(ids) + 2 for name, ids in self.fleet.sent.items()}
        posting, watching = threading.Event(), threading.Event()
        felt = {"ingest": float("inf"), "live sockets": float("inf")}
        while (elapsed := time.monotonic() - since) < OBSERVED_SECONDS:
            if not posting.is_set() and all(len(self.fleet.sent[name]) >= wanted[name] for name in wanted):
                felt["ingest"] = elapsed
                posting.set()
            if not watching.is_set() and self.watchers_have(wanted):
                felt["live sockets"] = elapsed
                watching.set()
            time.sleep(0.05)
        felt |= {probe.name: probe.recovered(since) for probe in self.probes}
        for probe in self.probes:
            for asked in probe.felt(since):
                # pytest shows this if the test fails.
                times = f"{asked.begun - since:.1f} to {asked.ended - since:.1f} s"
                print(f"{probe.name}: {times}, good: {asked.good} {asked.error}")  # noqa: T201
        within = INTERVAL_SECONDS + RECOVERY_SECONDS_MAX
        # Rounds are INTERVAL_SECONDS apart, so maintenance gets that time in addition.
        felt["maintenance"] = max(0.0, round_since(self.postgresql.url, moment, within=within) - INTERVAL_SECONDS)
        return felt

    def watchers_have(self, wanted: dict[str, int]) -> bool:
        return all(
            client.positions.get(name, 0) >= wanted[name]
            for client in self.audience.clients
            for name in self.watched
            if client.device_id in (None, name)
        )


@contextmanager
def scene(folder: Path, *, uvicorn: bool) -> Iterator[Scene]:
    with (
        PostgreSQL() as postgresql,
        HangingProxy(postgresql.port) as proxy,
        Server(folder, database_url=proxy.url, uvicorn=uvicorn) as server,
    ):
        yield Scene(postgresql, proxy, server)


def stop_while_hanging(here: Scene, passes_commit: bool | None = None) -> float:
    """Stops all connections, then tells the server to stop; returns the seconds until it has ended."""
    here.questions_at_once()
    here.hang(passes_commit)
    time.sleep(0.5)
    asked = time.monotonic()
    here.server.process.terminate()
    here.server.process.wait(STOP_SECONDS_MAX)
    return time.monotonic() - asked


@pytest.mark.parametrize(
    ("uvicorn", "passes_commit"),
    [(False, None), (True, False), (True, True)],
    ids=["daphne, at any moment", "uvicorn, before a COMMIT", "uvicorn, after a COMMIT"],
)
def test_every_connection_hangs_at_once(tmp_path: Path, uvicorn: bool, passes_commit: bool | None) -> None:
    with scene(tmp_path, uvicorn=uvicorn) as here:
        with here.running():
            felt = here.felt_after(passes_commit)
            assert max(felt.values()) <= RECOVERY_SECONDS_MAX, felt
            assert here.questions_at_once() == {200}
        assert {status for _, status, _ in here.fleet.answers} <= {200, 201, 503}
        here.fleet.check()


@pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"])
def test_a_server_whose_connections_hang_ends_when_it_is_told_to(tmp_path: Path, uvicorn: bool) -> None:
    with scene(tmp_path, uvicorn=uvicorn) as here:
        with here.fleet.posting():
            here.fleet.wait_for_an_answer()
            stop_while_hanging(here)
            here.proxy.forget()
            here.server.start()
        here.fleet.check()

"""Processes that are killed, stopped and frozen under load."""

import os
import random
import signal
import time
from pathlib import Path

import httpx
import pytest

from telemetry.tests.end_to_end.faults.test_stopping import Poster
from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.fleet import Fleet, Verdict, seconds_until_acknowledged
from telemetry.tests.support.servers.postgresql import PostgreSQL, children_of
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

DEVICES = 24
RECOVERY_SECONDS_MAX = 30
PROCESS_EXIT_SECONDS_MAX = 25


def test_the_server_is_killed(tmp_path: Path, record: Record) -> None:
    times = 100
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        fleet = Fleet(server, DEVICES)
        longest = 0.0
        with fleet.posting():
            for _ in range(times):
                time.sleep(random.uniform(0.2, 0.6))
                server.process.kill()
                server.process.wait()
                server.start()
                since = time.monotonic()
                longest = max(longest, seconds_until_acknowledged(fleet.answers, since, within=RECOVERY_SECONDS_MAX))
        assert {status for _, status, _ in fleet.answers} <= {200, 201}
        record("server: SIGKILL", times=times, verdict=fleet.verdict(), recovered=longest, seen="only 2xx")


def test_the_server_is_told_to_stop(tmp_path: Path, record: Record) -> None:
    times = 20
    acknowledged = lost = doubled = cut_off = 0
    longest = 0.0
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        for turn in range(times):
            posters = [Poster(server, f"d-{turn}-{number}") for number in range(DEVICES)]
            for poster in posters:
                poster.thread.start()
            time.sleep(1)
            asked = time.monotonic()
            server.process.terminate()
            server.process.wait(PROCESS_EXIT_SECONDS_MAX)
            longest = max(longest, time.monotonic() - asked)
            for poster in posters:
                poster.thread.join()
            server.start()
            for poster in posters:
                stored = server.log_of(poster.device_id)
                acknowledged += len(poster.acknowledged)
                lost += len(set(poster.acknowledged) - set(stored))
                doubled += len(stored) - len(set(stored))
                cut_off += len(poster.cut_off)
    assert cut_off == 0
    verdict = Verdict(acknowledged, lost, doubled, 0)
    record("server: SIGTERM", times=times, verdict=verdict, seen=f"no request cut off; ended within {longest:.1f} s")


@pytest.mark.parametrize("how", ["immediate stop", "SIGKILL", "frozen for 10 s"])
def test_postgresql_goes_away(tmp_path: Path, record: Record, how: str) -> None:
    times = 5 if how.startswith("frozen") else 10
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        fleet = Fleet(server, DEVICES)
        longest = 0.0
        with fleet.posting():
            for _ in range(times):
                time.sleep(random.uniform(1, 2))
                if how.startswith("frozen"):
                    postgresql.freeze(True)
                    time.sleep(10)
                    postgresql.freeze(False)
                else:
                    postgresql.stop() if how == "immediate stop" else kill(postgresql)
                    time.sleep(random.uniform(0.5, 2))
                    postgresql.start()
                since = time.monotonic()
                longest = max(longest, seconds_until_acknowledged(fleet.answers, since, within=RECOVERY_SECONDS_MAX))
        assert {status for _, status, _ in fleet.answers} <= {200, 201, 503}
        slowest = max(seconds for _, _, seconds in fleet.answers)
        health = httpx.get(f"{server.url}/health").json()
        assert health["status"] == "ok"
        seen = f"only 2xx and 503, none later than {slowest:.1f} s"
        record(f"PostgreSQL: {how}", times=times, verdict=fleet.verdict(), recovered=longest, seen=seen)


def kill(postgresql: PostgreSQL) -> None:
    postmaster = int((postgresql.folder / "data" / "postmaster.pid").read_text().split()[0])
    processes = [postmaster, *children_of(postmaster)]
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    while any(Path(f"/proc/{pid}").exists() for pid in processes):
        time.sleep(0.02)

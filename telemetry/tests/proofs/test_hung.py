"""All connections to PostgreSQL stop passing bytes while clients leave: the server recovers."""

import os
import time
from pathlib import Path

import pytest

from telemetry.tests.end_to_end.faults.test_hung_connections import (
    RECOVERY_SECONDS_MAX,
    Scene,
    scene,
    stop_while_hanging,
)
from telemetry.tests.end_to_end.limits.test_abandoned_requests import Abandoned
from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

TIMES = int(os.environ.get("HANG_TIMES", "3"))
REQUESTS = int(os.environ.get("ABANDONED_REQUESTS", "200"))
LOCKED_SECONDS = 20
SERVERS = pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"])
# What happens to the COMMIT at which all connections hang (telemetry.tests.support.servers.hanging_proxy.HangingProxy).
HOW = {"at any moment": None, "before a COMMIT": False, "after a COMMIT": True}


def name_of(uvicorn: bool) -> str:
    return "uvicorn" if uvicorn else "daphne"


@SERVERS
@pytest.mark.parametrize("how", HOW)
def test_every_connection_hangs(tmp_path: Path, record: Record, uvicorn: bool, how: str) -> None:
    longest: dict[str, float] = {}
    with scene(tmp_path, uvicorn=uvicorn) as here:
        with here.running():
            for _ in range(TIMES):
                felt = here.felt_after(HOW[how])
                longest = {name: max(seconds, longest.get(name, 0.0)) for name, seconds in felt.items()}
                if max(felt.values()) > RECOVERY_SECONDS_MAX:
                    break
                assert here.questions_at_once() == {200}
                # Otherwise PostgreSQL would run out of its 100 connections, because its own keepalives take hours.
                here.proxy.forget()
        statuses = {status for _, status, _ in here.fleet.answers}
        record(
            f"connections to PostgreSQL hang, all at once, {how}; on {name_of(uvicorn)}",
            times=TIMES,
            verdict=here.fleet.verdict(),
            recovered=max(longest.values()),
            seen=", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest.items()),
        )
        assert max(longest.values()) <= RECOVERY_SECONDS_MAX, longest
        assert statuses <= {200, 201, 503}


@SERVERS
def test_it_is_told_to_stop_while_they_hang(tmp_path: Path, record: Record, uvicorn: bool) -> None:
    longest = 0.0
    with scene(tmp_path, uvicorn=uvicorn) as here:
        with here.fleet.posting():
            for number in range(TIMES):
                here.fleet.wait_for_an_answer()
                time.sleep(1)
                longest = max(longest, stop_while_hanging(here, list(HOW.values())[number % len(HOW)]))
                forget_and_start(here)
        record(
            f"SIGTERM while connections to PostgreSQL hang; on {name_of(uvicorn)}",
            times=TIMES,
            verdict=here.fleet.verdict(),
            seen=f"ended within {longest:.1f} s",
        )


def forget_and_start(here: Scene) -> None:
    here.proxy.forget()
    here.server.start()


@SERVERS
def test_clients_leave_while_a_table_is_locked(tmp_path: Path, record: Record, uvicorn: bool) -> None:
    with PostgreSQL() as postgresql:
        server = Server(tmp_path, database_url=postgresql.url, uvicorn=uvicorn)
        # All clients of this test have one address.
        server.environment["CONNECTIONS_PER_ADDRESS"] = "1000"
        with server:
            abandoned = Abandoned(postgresql, server)
            recovered = abandoned.happens(requests=REQUESTS, locked_seconds=LOCKED_SECONDS)
    record(
        f"{REQUESTS} requests abandoned while a table is locked for {LOCKED_SECONDS} s; on {name_of(uvicorn)}",
        recovered=recovered,
        seen=f"all {abandoned.connections} connections for questions are there afterwards",
    )

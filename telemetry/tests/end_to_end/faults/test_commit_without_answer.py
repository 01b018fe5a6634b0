"""A backend is ended while its COMMIT waits for a standby: the reading is stored, but the server was not told."""

import threading
import time
import uuid
from pathlib import Path

import httpx
import psycopg
import pytest

from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

ENDED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


def test_the_answer_does_not_claim_that_nothing_was_stored(tmp_path: Path) -> None:
    identifier = str(uuid.uuid4())
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        headers = {"X-API-Key": server.register("mote-1")}
        url = f"{server.url}/api/v1/ingest"
        with psycopg.connect(postgresql.url, autocommit=True) as administrator:
            # The commits of this session do not wait for the standby.
            administrator.execute("SET synchronous_commit = local")
            administrator.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            administrator.execute("SELECT pg_reload_conf()")
            ending = threading.Thread(target=end_what_waits, args=[administrator])
            ending.start()
            unknown = httpx.post(url, json={"temperature": 1, "id": identifier}, headers=headers, timeout=30)
            ending.join()
            administrator.execute("ALTER SYSTEM RESET synchronous_standby_names")
            administrator.execute("SELECT pg_reload_conf()")

        assert (unknown.status_code, unknown.json()["code"]) == (503, "outcome_unknown")
        assert unknown.headers["Retry-After"]
        assert server.log_of("mote-1") == [identifier]
        again = httpx.post(url, json={"temperature": 1, "id": identifier}, headers=headers, timeout=30)
        assert (again.status_code, again.json()["duplicate"]) == (200, True)


def end_what_waits(administrator: "psycopg.Connection[tuple[bool]]") -> None:
    """The process id of the first backend that waits for a standby."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not administrator.execute(ENDED).fetchall():
        time.sleep(0.02)

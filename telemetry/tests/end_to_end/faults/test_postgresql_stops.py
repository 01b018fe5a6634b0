"""PostgreSQL stops under load and starts again, on a server of the test's own."""

import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from telemetry.tests.support.clients.fleet import Fleet, seconds_until_acknowledged
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.postgresql]

AWAY_SECONDS = 10
# Seconds: a 503 takes up to 5 s for the look-up of the key and 5 s for the commit, and machines are busy.
ANSWER_SECONDS_MAX = 12
RECOVERY_SECONDS_MAX = 10


@pytest.fixture
def postgresql() -> Iterator[PostgreSQL]:
    with PostgreSQL() as cluster:
        yield cluster


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_database_that_goes_away_under_load_costs_503s_and_nothing_else(
    tmp_path: Path, postgresql: PostgreSQL, how: str
) -> None:
    with Server(tmp_path, database_url=postgresql.url) as server:
        fleet = Fleet(server, 24)
        with fleet.posting():
            time.sleep(2)
            if how == "stopped":
                postgresql.stop()
                time.sleep(AWAY_SECONDS)
                postgresql.start()
            else:
                postgresql.freeze(True)
                time.sleep(AWAY_SECONDS)
                postgresql.freeze(False)
            seconds_until_acknowledged(fleet.answers, time.monotonic(), within=RECOVERY_SECONDS_MAX)

        assert {status for _, status, _ in fleet.answers} <= {200, 201, 503}
        assert any(status == 503 for _, status, _ in fleet.answers)
        assert max(seconds for _, _, seconds in fleet.answers) < ANSWER_SECONDS_MAX
        fleet.check()
    with psycopg.connect(postgresql.url) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM readings_reading").fetchone() == (True,)

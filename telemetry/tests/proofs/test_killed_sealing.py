"""Maintenance that is killed while it seals, beside devices that post."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.fleet import Fleet
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

DEVICES = 4
# Readings posted in each turn, so that there is something to seal.
BATCH = 4000
# Less than a second, so that each round seals what was posted since the one before.
SEAL_AFTER_DAYS = 0.00001
COUNT_SEALED = "from readings.models import Segment; print(sum(Segment.objects.values_list('count', flat=True)))"


TIMES = int(os.environ.get("SEALING_KILLS", "50"))


@contextmanager
def serving(folder: Path, database: str) -> Iterator[Server]:
    """A server without maintenance, which the proofs run and kill themselves."""
    if database == "SQLite":
        with Server(folder, uvicorn=True, database_url=f"sqlite:///{folder / 'db.sqlite3'}", redis_url="") as server:
            yield server
    else:
        with PostgreSQL() as postgresql, Server(folder, uvicorn=True, database_url=postgresql.url) as server:
            yield server


@pytest.mark.parametrize("database", ["PostgreSQL", "SQLite"])
def test_sealing_is_killed(tmp_path: Path, record: Record, database: str) -> None:
    with serving(tmp_path, database) as server:
        prove(server, record, database, TIMES)


def prove(server: Server, record: Record, database: str, times: int) -> None:
    environment = server.environment | {"SEAL_AFTER_DAYS": str(SEAL_AFTER_DAYS), "PYTHONUNBUFFERED": "1"}
    fleet = Fleet(server, DEVICES, pause=0.01)
    key = server.register("batches")
    batch = json.dumps([{"temperature": n / 7, "age_seconds": 4000 * (n % 50 == 0)} for n in range(BATCH)]).encode()
    turns_that_sealed = sealed = 0
    with fleet.posting():
        for _ in range(times):
            server.post_batch(batch, key=key)
            command = [sys.executable, "manage.py", "maintain", "--interval", "0.05"]
            with subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.PIPE) as process:
                assert process.stdout
                process.stdout.readline()  # it begins
                time.sleep(random.uniform(0.5, 4))
                process.kill()
            before, sealed = sealed, int(manage(environment, "shell", "-c", COUNT_SEALED).split()[-1])
            turns_that_sealed += sealed > before
    verdict = fleet.verdict()
    ids = server.log_of("batches")
    assert len(ids) == len(set(ids)) == BATCH * times
    assert "are complete" in manage(environment, "check_log")
    assert turns_that_sealed > times / 4
    seen = f"{sealed:,} readings were sealed in {turns_that_sealed} turns; `check_log` found nothing"
    record(f"{database}: SIGKILL of maintenance while it seals", times=times, verdict=verdict, seen=seen)


def manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=settings.BASE_DIR,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

"""Maintenance that is killed while it seals, beside devices that post."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.fleet import Fleet
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

DEVICES = 4
# Less than a second, so that each round seals what was posted since the one before.
SEAL_AFTER_DAYS = 0.00001
COUNT_SEALED = "from readings.models import Segment; print(sum(Segment.objects.values_list('count', flat=True)))"


@pytest.mark.parametrize("database", ["PostgreSQL", "SQLite"])
def test_sealing_is_killed(tmp_path: Path, record: Record, database: str) -> None:
    times = int(os.environ.get("SEALING_KILLS", "50"))
    if database == "SQLite":
        with Server(
            tmp_path, uvicorn=True, database_url=f"sqlite:///{tmp_path / 'db.sqlite3'}", redis_url=""
        ) as server:
            prove(server, record, database, times)
    else:
        with PostgreSQL() as postgresql, Server(tmp_path, uvicorn=True, database_url=postgresql.url) as server:
            prove(server, record, database, times)


def prove(server: Server, record: Record, database: str, times: int) -> None:
    environment = server.environment | {"SEAL_AFTER_DAYS": str(SEAL_AFTER_DAYS)}
    grown = 0
    fleet = Fleet(server, DEVICES)
    sealed = 0
    with fleet.posting():
        for _ in range(times):
            command = [sys.executable, "manage.py", "maintain", "--interval", "0.05"]
            process = subprocess.Popen(
                command, cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(random.uniform(2, 5))
            process.kill()
            process.wait()
            before, sealed = sealed, int(manage(environment, "shell", "-c", COUNT_SEALED).split()[-1])
            grown += sealed > before
    verdict = fleet.verdict()
    assert "are complete" in manage(environment, "check_log")
    assert grown > times / 10
    seen = f"{sealed:,} readings were sealed between kills; `check_log` found nothing"
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

"""Redis is killed and frozen while readings arrive and clients watch."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.audience import COMPLETE_SECONDS, Audience
from telemetry.tests.support.clients.fleet import Fleet
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.redis_server import Redis
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

DEVICES = 6
WATCHERS_EACH, FLEETS = 5, 3
TIMES = 10
# One announcement may wait a second for a hanging Redis; after that it is not tried.
ANSWER_SECONDS_MAX = 2.5


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_redis_goes_away(tmp_path: Path, record: Record, how: str) -> None:
    with (
        PostgreSQL() as postgresql,
        Redis(tmp_path) as redis,
        Server(tmp_path, database_url=postgresql.url, redis_url=redis.url) as server,
    ):
        fleet = Fleet(server, DEVICES, pause=0.02)
        watched = dict.fromkeys(fleet.keys, WATCHERS_EACH)
        longest = 0.0
        with Audience([server], devices=watched, fleets=FLEETS) as audience:
            with fleet.posting():
                for _ in range(TIMES):
                    time.sleep(random.uniform(0.5, 1.5))
                    if how == "SIGKILL":
                        redis.kill()
                        time.sleep(random.uniform(0.5, 3))
                        redis.start()
                    else:
                        os.kill(redis.process.pid, signal.SIGSTOP)
                        time.sleep(random.uniform(0.5, 3))
                        os.kill(redis.process.pid, signal.SIGCONT)
                    time.sleep(random.uniform(0.5, 1.5))
            ended = time.monotonic()
            audience.ends_complete({name: len(fleet.sent[name]) for name in fleet.keys})
            longest = time.monotonic() - ended
            seqs = sum(len(client.seqs[name]) for client in audience.clients for name in fleet.keys)
        assert {status for _, status, _ in fleet.answers} == {201}
        slowest = max(seconds for _, _, seconds in fleet.answers)
        assert slowest < ANSWER_SECONDS_MAX
        assert longest < COMPLETE_SECONDS
        record(
            f"Redis: {how}",
            times=TIMES,
            verdict=fleet.verdict(),
            seen=f"only 201, none later than {slowest:.1f} s; {len(audience.clients)} watchers had every reading "
            f"in order ({seqs:,}), {longest:.1f} s after the last",
        )

"""Redis servers and web processes are killed and frozen while readings arrive and clients watch."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.audience import COMPLETE_SECONDS, Audience
from telemetry.tests.support.clients.fleet import Fleet, Verdict
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.redis_server import Redis
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

DEVICES = 6
WATCHERS_EACH, FLEETS = 5, 3
TIMES = 10
# One announcement may wait a second for a hanging Redis; after that it is not tried.
ANSWER_SECONDS_MAX = 2.5


def fail(redis: Redis, how: str) -> None:
    """The server is away for a random time."""
    if how == "SIGKILL":
        redis.kill()
        time.sleep(random.uniform(0.5, 3))
        redis.start()
    else:
        os.kill(redis.process.pid, signal.SIGSTOP)
        time.sleep(random.uniform(0.5, 3))
        os.kill(redis.process.pid, signal.SIGCONT)


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
                    fail(redis, how)
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


def test_one_of_two_redis_servers_and_of_two_web_processes_goes_away(tmp_path: Path, record: Record) -> None:
    """Each Redis server is killed and frozen, and each web process killed; clients go on at the other process."""
    with (
        PostgreSQL() as postgresql,
        Redis(tmp_path) as first,
        Redis(tmp_path) as second,
        Server(tmp_path, database_url=postgresql.url, redis_url=f"{first.url},{second.url}") as one,
        Server(tmp_path, beside=one, redis_url=f"{first.url},{second.url}", uvicorn=True) as other,
    ):
        fleets = [Fleet(one, DEVICES, pause=0.02, prefix="one"), Fleet(other, DEVICES, pause=0.02, prefix="other")]
        keys = [name for fleet in fleets for name in fleet.keys]
        with Audience([one, other], devices=dict.fromkeys(keys, WATCHERS_EACH), fleets=FLEETS) as audience:
            with fleets[0].posting(), fleets[1].posting():
                for turn in range(TIMES):
                    for redis in (first, second):
                        time.sleep(random.uniform(0.5, 1.5))
                        fail(redis, "SIGKILL" if turn % 2 else "SIGSTOP")
                    server = (one, other)[turn % 2]
                    time.sleep(random.uniform(0.5, 1.5))
                    server.process.kill()
                    server.process.wait()
                    server.start()
                    fleets[turn % 2].wait_for_an_answer()
            ended = time.monotonic()
            audience.ends_complete({name: len(fleet.sent[name]) for fleet in fleets for name in fleet.keys})
            longest = time.monotonic() - ended
            seqs = sum(len(client.seqs[name]) for client in audience.clients for name in keys)
            connections = sum(client.connections for client in audience.clients)
        assert {status for fleet in fleets for _, status, _ in fleet.answers} <= {200, 201}
        slowest = max(seconds for fleet in fleets for _, _, seconds in fleet.answers)
        assert slowest < ANSWER_SECONDS_MAX
        verdicts = [fleet.verdict() for fleet in fleets]
        record(
            "two Redis servers, each SIGKILL and SIGSTOP; two web processes, daphne and uvicorn, SIGKILL",
            times=3 * TIMES,
            verdict=Verdict(*map(sum, zip(*verdicts, strict=True))),
            seen=f"only 2xx, none later than {slowest:.1f} s; {len(audience.clients)} watchers, who connected "
            f"{connections:,} times, had every reading in order ({seqs:,}), {longest:.1f} s after the last",
        )

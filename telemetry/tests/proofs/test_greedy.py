"""One caller uses as much as it can: the effect on 50 devices that post one reading a second each."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from telemetry.tests.end_to_end.limits.test_greedy_caller import LOOPS, MEMORY_MB_MAX, P99_FACTOR_MAX, fill
from telemetry.tests.proofs.conftest import Record
from telemetry.tests.support.clients.greedy import asks
from telemetry.tests.support.clients.neighbours import Greedy, Memory, Neighbours, beside
from telemetry.tests.support.clients.recovery import maintaining
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = pytest.mark.prove

SECONDS = float(os.environ.get("GREEDY_SECONDS", "60"))
WIDE_SECONDS = float(os.environ.get("WIDE_SECONDS", "30"))
IDLE_SECONDS = 30
READINGS = 200_000
VALID_LOOPS = 2
WIDE_NAMES = 6_400
NAMES_EACH = 32  # the most that a reading may have besides the three columns
WIDE_BATCH = 30
EXTRA_NAMES_MAX = 200  # the default of METRIC_NAMES_PER_DEVICE
STACKS = pytest.mark.parametrize("database", ["PostgreSQL", "SQLite"])
SERVERS = pytest.mark.parametrize("uvicorn", [False, True], ids=["daphne", "uvicorn"])


@contextmanager
def serving(folder: Path, *, uvicorn: bool, database: str) -> Iterator[Server]:
    """A server with maintenance, which runs in daphne's process, or in another process beside uvicorn."""
    with ExitStack() as stack:
        if database == "PostgreSQL":
            postgresql = stack.enter_context(PostgreSQL())
            server = Server(folder, database_url=postgresql.url, uvicorn=uvicorn)
        else:
            server = Server(folder, database_url=f"sqlite:///{folder / 'db.sqlite3'}", redis_url="", uvicorn=uvicorn)
        stack.enter_context(server)
        stack.enter_context(maintaining(server))
        yield server


@SERVERS
@STACKS
def test_a_greedy_caller(tmp_path: Path, record: Record, uvicorn: bool, database: str) -> None:
    where = f"{'uvicorn' if uvicorn else 'daphne'}, {database}"
    with serving(tmp_path, uvicorn=uvicorn, database=database) as server:
        asking, posting = server.register("asking"), server.register("posting")
        fill(server, asking, READINGS)
        neighbours = Neighbours(server)
        neighbours.run(IDLE_SECONDS)
        assert neighbours.none_refused(), neighbours.statuses
        idle_ms = neighbours.p99_ms()

        memory = Memory(server)
        asked = Greedy(server, "asks", "asking", asking, loops=LOOPS, seconds=SECONDS)
        refused = Greedy(server, "refused", "posting", posting, loops=LOOPS, seconds=SECONDS)
        with beside(asked, refused):
            neighbours.run(SECONDS)
        statuses, p99_ms, peak_mb = dict(neighbours.statuses), neighbours.p99_ms(), memory.peak_mb()
        record(
            f"a caller's most expensive questions in {LOOPS} loops and another's bodies to be refused in {LOOPS} "
            f"loops, for {SECONDS:g} s; on {where}",
            seen=f"50 other devices: {answers(statuses)}, p99 {p99_ms:.0f} ms, idle {idle_ms:.0f} ms; memory at "
            f"most {peak_mb:.0f} MB; questions: {asked.seen()}; bodies: {refused.seen()}",
        )
        assert set(statuses) == {201}
        assert p99_ms < P99_FACTOR_MAX * idle_ms
        assert peak_mb < MEMORY_MB_MAX
        assert not {status for status in refused.statuses if status[0] == "2"}
        assert "500" not in {**asked.statuses, **refused.statuses}

        memory.reset()
        batches = Greedy(server, "valid", "posting", FLEET_KEY, loops=VALID_LOOPS, seconds=SECONDS)
        with beside(batches):
            neighbours.run(SECONDS)
        record(
            f"batches of the largest size (10,000 readings) in {VALID_LOOPS} loops for {SECONDS:g} s; on {where}",
            seen=f"50 other devices: {answers(neighbours.statuses)}, p99 {neighbours.p99_ms():.0f} ms, idle "
            f"{idle_ms:.0f} ms; memory at most {memory.peak_mb():.0f} MB; batches: {batches.seen()}",
        )
        assert memory.peak_mb() < MEMORY_MB_MAX


def answers(statuses: dict[int, int]) -> str:
    return ", ".join(f"{count:,} times {status}" for status, count in sorted(statuses.items()))


def add_names(server: Server, key: str) -> tuple[int, int]:
    """Posts readings with WIDE_NAMES different metric names; returns the number of stored and refused readings."""
    stored = refused = 0
    readings = [
        {f"name_{number}": 1.5 for number in range(first, first + NAMES_EACH)}
        for first in range(0, WIDE_NAMES, NAMES_EACH)
    ]
    for first in range(0, len(readings), WIDE_BATCH):
        answer = httpx.post(
            f"{server.url}/api/v1/ingest/batch",
            json=readings[first : first + WIDE_BATCH],
            headers={"X-API-Key": key},
            timeout=60,
        ).json()
        stored += answer["accepted"]
        refused += sum(item["code"] == "too_many_metric_names" for item in answer["rejected"])
    return stored, refused


def largest_answer(server: Server, device_id: str) -> tuple[int, set[int]]:
    """Sends each query once and reads its answer; returns the largest size in bytes, and the statuses."""
    most, statuses = 0, set()
    for asking in asks(device_id, ADMIN_KEY):
        path = asking.request.split()[1].decode()
        headers = {"X-API-Key": ADMIN_KEY, "Accept-Encoding": "identity"}
        with httpx.stream("GET", f"{server.url}{path}", headers=headers, timeout=120) as answer:
            statuses.add(answer.status_code)
            most = max(most, sum(map(len, answer.iter_raw())))
    return most, statuses


@SERVERS
@STACKS
def test_a_device_with_many_metric_names(tmp_path: Path, record: Record, uvicorn: bool, database: str) -> None:
    where = f"{'uvicorn' if uvicorn else 'daphne'}, {database}"
    with serving(tmp_path, uvicorn=uvicorn, database=database) as server:
        key = server.register("wide")
        neighbours = Neighbours(server)
        neighbours.run(IDLE_SECONDS)
        idle_ms = neighbours.p99_ms()

        memory = Memory(server)
        stored, refused = add_names(server, key)
        assert refused == WIDE_NAMES // NAMES_EACH - stored > 0
        url = f"{server.url}/api/v1/devices/wide/aggregate?start=-24h"
        metrics = httpx.get(url, headers={"X-API-Key": key}, timeout=60).json()["metrics"]
        assert len(metrics) <= EXTRA_NAMES_MAX
        most_bytes, statuses = largest_answer(server, "wide")
        assert statuses <= {200, 422}
        asked = Greedy(server, "asks", "wide", key, loops=LOOPS, seconds=WIDE_SECONDS)
        with beside(asked):
            neighbours.run(WIDE_SECONDS)
        p99_ms, peak_mb = neighbours.p99_ms(), memory.peak_mb()
        record(
            f"a device that tries to have {WIDE_NAMES:,} metric names, and asks for them in {LOOPS} loops for "
            f"{WIDE_SECONDS:g} s; on {where}",
            seen=f"{len(metrics)} names, {refused} of {refused + stored} readings refused; largest answer "
            f"{most_bytes / 1e6:.1f} MB; 50 other devices: {answers(neighbours.statuses)}, p99 {p99_ms:.0f} ms, idle "
            f"{idle_ms:.0f} ms; memory at most {peak_mb:.0f} MB; questions: {asked.seen()}",
        )
        assert neighbours.none_refused(), neighbours.statuses
        assert p99_ms < P99_FACTOR_MAX * idle_ms
        assert peak_mb < MEMORY_MB_MAX

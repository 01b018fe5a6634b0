"""Half of the server's capacity for half an hour: memory, threads and connections stay constant."""

import os
from pathlib import Path

import pytest

from telemetry.tests.proofs.conftest import Record
from telemetry.tests.proofs.steady import Steady
from telemetry.tests.proofs.watching import Watch
from telemetry.tests.support.servers.postgresql import PostgreSQL
from telemetry.tests.support.servers.server import Server

pytestmark = pytest.mark.prove

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))
DEVICES = 32
FULL_SECONDS = 15
GROWTH_MB_MAX = 10


def test_half_its_capacity_for_half_an_hour(tmp_path: Path, record: Record) -> None:
    with PostgreSQL() as postgresql, Server(tmp_path, database_url=postgresql.url) as server:
        keys = {name: server.register(name) for name in (f"d-{number}" for number in range(DEVICES))}
        full = Steady(server, keys, tmp_path / "full")
        full.run(seconds=FULL_SECONDS)
        most = full.answers[201] / FULL_SECONDS
        keys = {name: server.register(name) for name in (f"half-{number}" for number in range(DEVICES))}
        half = Steady(server, keys, tmp_path / "half")
        with Watch(server, postgresql.url).watching(every=5) as watch:
            half.run(seconds=MINUTES * 60, per_second=most / 2)
        assert set(half.answers) == {201}
        first, last = watch.memory(0.2, 0.4), watch.memory(0.8, 1.0)
        threads = [found.threads for found in watch.seen]
        connections = [found.connections for found in watch.seen]
        assert last - first < GROWTH_MB_MAX
        assert max(threads[len(threads) // 2 :]) <= max(threads[: len(threads) // 2])
        assert max(connections[len(connections) // 2 :]) <= max(connections[: len(connections) // 2])
        rate = half.answers[201] / MINUTES / 60
        record(
            f"half of what it can do ({rate:,.0f} of {most:,.0f} single readings/s) for {MINUTES:g} min",
            verdict=half.verdict(),
            seen=f"memory {first:.0f} MB early, {last:.0f} MB late; threads at most {max(threads)}, "
            f"connections {max(connections)}; slowest answer {half.slowest:.1f} s",
        )

"""One caller sends the costliest requests, another posts bodies that are costly to refuse: other devices are served."""

import gzip
import json
from pathlib import Path

import pytest

from telemetry.tests.support.clients.greedy import WINDOW_SECONDS
from telemetry.tests.support.clients.neighbours import Greedy, Memory, Neighbours, beside
from telemetry.tests.support.clients.recovery import roll_up
from telemetry.tests.support.servers.server import UVICORN, Server

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

LOOPS = 8
READINGS = 20_000
BATCH = 2_000
# With the three columns 19 metrics: 189,981 values in buckets of a second, just below the limit of one answer.
EXTRA_METRICS = 16
SECONDS = 5
P99_FACTOR_MAX = 3
# The limits that hold today, to detect regressions; before the fix a short run took 7 s and more. The contract requires
# three times the p99 of an idle server, here about 8 ms, and 300 MB: `make prove`, docs/reliability.md.
P99_FLOOR_MS = 500
MEMORY_MB_MAX = 330


def fill(server: Server, key: str, readings: int) -> None:
    """Stores readings with many metrics, evenly spread over the last WINDOW_SECONDS, and rolls them up."""
    extra = {f"metric_{number}": number + 0.5 for number in range(EXTRA_METRICS)}
    for first in range(0, readings, BATCH):
        batch = [
            {
                "temperature": number % 40,
                "humidity": number % 100,
                "voltage": 3.9,
                **extra,
                "age_seconds": round((readings - number) / readings * WINDOW_SECONDS, 3),
            }
            for number in range(first, min(first + BATCH, readings))
        ]
        body = gzip.compress(json.dumps(batch).encode(), 1)
        server.post_batch(body, key=key, **{"Content-Encoding": "gzip"})
    roll_up(server)


@pytest.mark.parametrize("uvicorn", UVICORN)
def test_other_devices_do_not_feel_a_greedy_caller(tmp_path: Path, uvicorn: bool) -> None:
    with Server(tmp_path, uvicorn=uvicorn) as server:
        asking, posting = server.register("asking"), server.register("posting")
        fill(server, asking, READINGS)
        neighbours = Neighbours(server)
        neighbours.run(SECONDS)
        assert neighbours.none_refused()
        idle_ms = neighbours.p99_ms()

        memory = Memory(server)
        asks = Greedy(server, "asks", "asking", asking, loops=LOOPS, seconds=SECONDS)
        refused = Greedy(server, "refused", "posting", posting, loops=LOOPS, seconds=SECONDS)
        with beside(asks, refused):
            neighbours.run(SECONDS)

        assert neighbours.none_refused(), neighbours.statuses
        assert neighbours.p99_ms() < max(P99_FACTOR_MAX * idle_ms, P99_FLOOR_MS)
        assert memory.peak_mb() < MEMORY_MB_MAX
        assert not {status for status in refused.statuses if status[0] == "2"}, refused.statuses
        assert "500" not in {**asks.statuses, **refused.statuses}

"""Devices with the maximum number of metrics: exports, pages and statistics do not block the event loop."""

import asyncio
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY
from readings.log.entries import NewReading
from readings.log.recording import record
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.alone]

NAMES = 200
READINGS = 10_000
PAUSE_SECONDS_MAX = 0.05
BEAT_SECONDS = 0.005
IDLE_SECONDS = 0.5


@pytest.fixture
def wide(db):
    """A device with 200 metrics, 32 of them in each reading."""
    Device.objects.register(device_id="wide")
    now = timezone.now()
    for first in range(0, READINGS, 1000):
        record(
            [
                NewReading(
                    "wide",
                    now - timedelta(seconds=READINGS - n),
                    None,
                    n / 7,
                    40.0,
                    3.9,
                    {f"metric_{(n * 7 + k) % NAMES:03}": n / 7 + k for k in range(32)},
                )
                for n in range(first, first + 1000)
            ],
            received_at=now,
        )


async def watch(longest):
    """Appends to `longest` when the event loop was blocked for longer than before, in seconds."""
    last = time.perf_counter()
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        now = time.perf_counter()
        if now - last - BEAT_SECONDS > longest[-1]:
            longest.append(now - last - BEAT_SECONDS)
        last = now


def longest_pauses(path, encoding="identity"):
    """The status, the size as it was sent, and the longest block of the event loop when idle and during the request."""

    async def story(client):
        idle, busy, size = [0.0], [0.0], 0
        watching = asyncio.create_task(watch(idle))
        await asyncio.sleep(IDLE_SECONDS)
        watching.cancel()
        watching = asyncio.create_task(watch(busy))
        headers = {"X-API-Key": ADMIN_KEY, "Accept-Encoding": encoding}
        async with client.stream("GET", path, headers=headers, timeout=120) as response:
            assert response.headers.get("Content-Encoding", "identity") == (
                encoding if response.is_success else "identity"
            )
            async for part in response.aiter_raw():
                size += len(part)
        watching.cancel()
        return response.status_code, size, idle[-1], busy[-1]

    return through_the_lane(story)


@pytest.mark.parametrize(
    ("path", "encoding", "bytes_min"),
    [
        ("/devices/wide/history?format=csv", "identity", 8_000_000),
        ("/devices/wide/history?limit=10000", "identity", 8_000_000),
        ("/devices/wide/history?limit=10000", "gzip", 1_000_000),
        ("/devices/wide/aggregate?start=-9999s&bucket=15s&fill=null", "identity", 10_000_000),
        ("/devices/wide/aggregate?start=-9999s&bucket=2m", "identity", 1_000_000),
    ],
    ids=["csv", "page", "compressed page", "filled", "statistics"],
)
def test_a_wide_answer_leaves_the_event_loop_free(wide, path, encoding, bytes_min):
    status, size, idle, busy = longest_pauses(path, encoding)

    assert status == 200
    assert size > bytes_min
    assert busy < PAUSE_SECONDS_MAX + idle


def test_statistics_beyond_the_limit_are_refused_at_once(wide):
    before = time.monotonic()
    status, _, idle, busy = longest_pauses("/devices/wide/aggregate?start=-9999s&bucket=1s&fill=null")
    assert status == 422
    assert busy < PAUSE_SECONDS_MAX + idle
    assert time.monotonic() - before < 2 + IDLE_SECONDS

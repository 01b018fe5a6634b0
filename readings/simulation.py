"""Virtual devices that post over real HTTP, as an ESP32 would: one at a time, again until acknowledged."""

import asyncio
import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from readings.ids import uuid7

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5
RETRY_SECONDS = (0.5, 30.0)
# Refusals that another try can change: too slow, too early, too many.
PASSING_REFUSALS = frozenset({408, 425, 429})


class SimulationError(Exception):
    """The server refuses a virtual device for good; the message says why."""


@dataclass
class Tally:
    """What the devices have done so far; `failed` counts attempts, each of which was repeated."""

    stored: int = 0
    failed: int = 0
    started: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self.started, 0.001)
        return f"{self.stored} readings stored ({self.stored / seconds:.1f}/s), {self.failed} attempts repeated"


@dataclass
class VirtualDevice:
    """A room with a sensor in it: °C, %, V and the signal's strength in dBm, wandering as such things do."""

    device_id: str
    key: str
    chance: random.Random = field(default_factory=random.Random)
    temperature: float = 21.0
    voltage: float = 4.1

    def measure(self) -> dict[str, float]:
        # Ten minutes stand for a day, so that a chart shows something before long.
        day = math.sin(time.time() / 600 * 2 * math.pi)
        self.temperature += (21 + 3 * day - self.temperature) * 0.05 + self.chance.gauss(0, 0.08)
        self.voltage = max(3.3, self.voltage - 0.00002) if self.voltage > 3.3 else 4.1
        return {
            "temperature": round(self.temperature, 2),
            "humidity": round(48 - 2.2 * (self.temperature - 21) + self.chance.gauss(0, 0.25), 1),
            "voltage": round(self.voltage + self.chance.gauss(0, 0.002), 3),
            "rssi": round(-62 + self.chance.gauss(0, 2)),
        }

    async def run(self, client: httpx.AsyncClient, *, interval: float, tally: Tally) -> None:
        """Posts a reading every `interval` seconds, with a little jitter, until cancelled."""
        await asyncio.sleep(self.chance.uniform(0, min(interval, 1.0)))
        while True:
            await self.post(client, self.measure() | {"id": str(uuid7())}, tally)
            await asyncio.sleep(interval * self.chance.uniform(0.9, 1.1))

    async def post(self, client: httpx.AsyncClient, reading: dict[str, float | str], tally: Tally) -> None:
        """Posts until the reading is acknowledged; its id keeps a repeated one from being stored twice."""
        for attempt in itertools.count():
            try:
                response = await client.post("/api/v1/ingest", json=reading, headers={"X-API-Key": self.key})
            except httpx.TransportError as error:
                logger.debug("%s: %r", self.device_id, error)
            else:
                if response.is_success:
                    tally.stored += 1
                    return
                if response.status_code < 500 and response.status_code not in PASSING_REFUSALS:
                    raise SimulationError(f"{self.device_id}: {response.status_code} {response.text}")
            tally.failed += 1
            await asyncio.sleep(min(RETRY_SECONDS[0] * 2**attempt, RETRY_SECONDS[1]) * self.chance.uniform(0.5, 1))


async def simulate(
    devices: Sequence[VirtualDevice],
    *,
    base_url: str,
    interval: float,
    duration: float | None = None,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Runs the devices for `duration` seconds (None: until cancelled), calling `progress` now and then.

    Raises SimulationError when the server refuses one of them.
    """
    tally = Tally()
    async with httpx.AsyncClient(base_url=base_url, timeout=10, trust_env=False) as client:
        try:
            async with asyncio.timeout(duration), asyncio.TaskGroup() as tasks:
                for device in devices:
                    tasks.create_task(device.run(client, interval=interval, tally=tally))
                while True:
                    await asyncio.sleep(PROGRESS_SECONDS)
                    progress(tally)
        except TimeoutError:
            return tally
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


def server_url(host: str, port: int) -> str:
    """How a server that listens on `host` is reached from the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def obtain_keys(device_ids: Sequence[str], *, base_url: str, admin_key: str) -> list[VirtualDevice]:
    """Registers the devices over the API, or gives those there are a new key. Raises SimulationError."""
    devices = []
    headers = {"X-API-Key": admin_key}
    with httpx.Client(base_url=f"{base_url}/api/v1", headers=headers, timeout=10, trust_env=False) as client:
        for device_id in device_ids:
            try:
                response = client.post("/devices", json={"device_id": device_id, "name": "Simulated"})
                if response.status_code == httpx.codes.CONFLICT:
                    response = client.post(f"/devices/{device_id}/rotate-key", json={})
            except httpx.TransportError as error:
                raise SimulationError(f"No server answers at {base_url}: {error}") from error
            if not response.is_success:
                raise SimulationError(f"{device_id}: {response.status_code} {response.text}")
            try:
                devices.append(VirtualDevice(device_id, response.json()["api_key"]))
            except (ValueError, LookupError, TypeError) as error:
                raise SimulationError(f"What answers at {base_url} is another program.") from error
    return devices

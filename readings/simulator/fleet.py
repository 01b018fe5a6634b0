"""Virtual devices that post over HTTP like an ESP32: one request at a time, repeated until it is acknowledged."""

import asyncio
import itertools
import logging
import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx

from devices.plurals import counted
from readings.log.ids import uuid7

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5
# Shortest and longest pause between two attempts.
RETRY_SECONDS = (0.5, 30.0)
# A younger reading is sent without `age_seconds`, so its time is the time of receipt.
AGE_SECONDS_MIN = 1.0
# How often a device checks for readings to send.
IDLE_SECONDS = 0.05
# Maximum number of readings in a device's memory (the oldest is dropped when it is full), and in one request.
BUFFERED_MAX = 10_000
BATCH_SENT_MAX = 500
CONNECTIONS_MAX = 200
# HTTP statuses after which a retry can succeed: request timeout, too early, too many requests.
PASSING_REFUSALS = frozenset({408, 425, 429})


class SimulationError(Exception):
    """The server does not accept a virtual device, and a retry would not help. The message says why."""


@dataclass
class Tally:
    """Totals of all devices. `failed`: attempts that failed and were repeated. `buffered`: readings not sent yet."""

    stored: int = 0
    failed: int = 0
    buffered: int = 0
    cut_off: int = 0
    started: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        seconds = max(time.monotonic() - self.started, 0.001)
        return (
            f"{counted(self.stored, 'reading', 'readings')} stored ({self.stored / seconds:.1f}/s), "
            f"{counted(self.failed, 'attempt', 'attempts')} repeated, {self.buffered:,} in buffers, "
            f"{counted(self.cut_off, 'device', 'devices')} cut off"
        )


class Measurement(NamedTuple):
    """A reading, its id, and the time of measurement in seconds of a monotonic clock, like `millis()` of a device."""

    id: str
    values: dict[str, float]
    measured: float

    def document(self) -> dict[str, float | str]:
        """The JSON object to post now, with the age in seconds, because the device has no clock."""
        age = round(time.monotonic() - self.measured, 3)
        document: dict[str, float | str] = {**self.values, "id": self.id}
        if age >= AGE_SECONDS_MIN:
            document["age_seconds"] = age
        return document


@dataclass(frozen=True)
class Outages:
    """Network outages of a device: mean seconds between outages and mean length, both exponentially distributed."""

    every: float
    length: float


@dataclass
class VirtualDevice:
    """A simulated room sensor: temperature (°C), humidity (%), voltage (V) and signal strength (dBm)."""

    device_id: str
    key: str
    chance: random.Random = field(default_factory=random.Random)
    temperature: float = 21.0
    voltage: float = 4.1
    buffer: deque[Measurement] = field(default_factory=lambda: deque(maxlen=BUFFERED_MAX))
    # Time of measurement (Unix seconds) by id, 150 bytes per reading, for the comparison at the end. None: not kept.
    acknowledged: dict[str, float] | None = field(default_factory=dict)
    back_at: float = 0.0
    measuring: bool = True

    def measure(self) -> dict[str, float]:
        # The daily cycle takes ten minutes, so that a chart soon shows it.
        day = math.sin(time.time() / 600 * 2 * math.pi)
        self.temperature += (21 + 3 * day - self.temperature) * 0.05 + self.chance.gauss(0, 0.08)
        self.voltage = max(3.3, self.voltage - 0.00002) if self.voltage > 3.3 else 4.1
        return {
            "temperature": round(self.temperature, 2),
            "humidity": round(48 - 2.2 * (self.temperature - 21) + self.chance.gauss(0, 0.25), 1),
            "voltage": round(self.voltage + self.chance.gauss(0, 0.002), 3),
            "rssi": round(-62 + self.chance.gauss(0, 2)),
        }

    @property
    def cut_off(self) -> bool:
        return time.monotonic() < self.back_at

    async def run(
        self, client: httpx.AsyncClient, *, interval: float, tally: Tally, outages: Outages | None = None
    ) -> None:
        """Measures every `interval` seconds ±10 % and posts, until `measuring` is False and all readings are sent."""
        await asyncio.sleep(self.chance.uniform(0, interval))
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self.keep_measuring(interval))]
            if outages:
                others.append(tasks.create_task(self.lose_network(outages)))
            await self.keep_sending(client, tally)
            for task in others:
                task.cancel()

    async def keep_measuring(self, interval: float) -> None:
        while self.measuring:
            self.buffer.append(Measurement(str(uuid7()), self.measure(), time.monotonic()))
            await asyncio.sleep(interval * self.chance.uniform(0.9, 1.1))

    async def lose_network(self, outages: Outages) -> None:
        while self.measuring:
            await asyncio.sleep(self.chance.expovariate(1 / outages.every))
            self.back_at = time.monotonic() + self.chance.expovariate(1 / outages.length)
            await asyncio.sleep(max(0, self.back_at - time.monotonic()))

    async def keep_sending(self, client: httpx.AsyncClient, tally: Tally) -> None:
        """Posts single readings, or a batch if several are in the buffer, as after an outage."""
        while self.measuring or self.buffer:
            if not self.buffer or self.cut_off:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            waiting = [self.buffer.popleft() for _ in range(min(len(self.buffer), BATCH_SENT_MAX))]
            await self.send(client, waiting, tally)

    async def send(self, client: httpx.AsyncClient, waiting: Sequence[Measurement], tally: Tally) -> None:
        """Repeats the post until it is acknowledged; the ids prevent the server from storing a reading twice.

        Raises SimulationError for a refusal after which a retry cannot succeed, also of a single reading of a batch.
        """
        path = "/api/v1/ingest" if len(waiting) == 1 else "/api/v1/ingest/batch"
        for attempt in itertools.count():
            documents = [measurement.document() for measurement in waiting]
            asked_to_wait = 0.0
            try:
                body = documents[0] if len(documents) == 1 else documents
                response = await client.post(path, json=body, headers={"X-API-Key": self.key})
            except httpx.TransportError as error:
                logger.debug("%s: %r", self.device_id, error)
            else:
                if response.status_code in (httpx.codes.OK, httpx.codes.CREATED):
                    now, clock = time.time(), time.monotonic()
                    if self.acknowledged is not None:
                        self.acknowledged |= {m.id: now - (clock - m.measured) for m in waiting}
                    tally.stored += len(waiting)
                    return
                passing = response.status_code >= 500 or response.status_code in PASSING_REFUSALS
                if not passing:
                    raise SimulationError(f"{self.device_id}: {response.status_code} {response.text}")
                asked_to_wait = retry_after(response)
            tally.failed += 1
            backoff = min(RETRY_SECONDS[0] * 2 ** min(attempt, 10), RETRY_SECONDS[1]) * self.chance.uniform(0.5, 1)
            await asyncio.sleep(max(backoff, asked_to_wait))


def retry_after(response: httpx.Response) -> float:
    """The seconds of a Retry-After header, at most the longest pause of RETRY_SECONDS; 0 without the header."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), RETRY_SECONDS[1]) if text.isdecimal() else 0.0


async def simulate(
    devices: Sequence[VirtualDevice],
    *,
    base_url: str,
    interval: float,
    duration: float | None = None,
    outages: Outages | None = None,
    stop: asyncio.Event | None = None,
    drain: float = 0,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Runs the devices for `duration` seconds (None: until `stop` is set or it is cancelled).

    Then they stop measuring and have `drain` seconds to send their buffers. Calls `progress` every PROGRESS_SECONDS.
    Raises SimulationError if the server refuses a device.
    """
    tally = Tally()
    connections = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
    async with httpx.AsyncClient(base_url=base_url, timeout=10, trust_env=False, limits=connections) as client:
        try:
            async with asyncio.timeout(None) as deadline, asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(device.run(client, interval=interval, tally=tally, outages=outages))
                    for device in devices
                ]
                ends = asyncio.create_task((stop or asyncio.Event()).wait())
                until = None if duration is None else time.monotonic() + duration
                while not ends.done() and (until is None or time.monotonic() < until):
                    left = PROGRESS_SECONDS if until is None else min(PROGRESS_SECONDS, until - time.monotonic())
                    await asyncio.wait([ends], timeout=max(left, 0))
                    tally.buffered = sum(len(device.buffer) for device in devices)
                    tally.cut_off = sum(device.cut_off for device in devices)
                    progress(tally)
                ends.cancel()
                for device in devices:
                    device.measuring = False
                    device.back_at = 0.0
                deadline.reschedule(asyncio.get_running_loop().time() + drain)
                await asyncio.wait(running)
        except TimeoutError:
            return tally
        except ExceptionGroup as failures:
            raise first_of(failures) from None
    return tally


def first_of(failures: BaseException) -> BaseException:
    """The first error in nested exception groups."""
    return first_of(failures.exceptions[0]) if isinstance(failures, BaseExceptionGroup) else failures


def server_url(host: str, port: int) -> str:
    """The URL by which a server that listens on `host` can be reached from the same machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def obtain_keys(device_ids: Sequence[str], *, base_url: str, admin_key: str) -> list[VirtualDevice]:
    """Registers the devices over the API; existing devices get a new key. Raises SimulationError."""
    devices = []
    headers = {"X-API-Key": admin_key}
    with httpx.Client(base_url=f"{base_url}/api/v1", headers=headers, timeout=10, trust_env=False) as client:
        for device_id in device_ids:
            try:
                response = client.post("/devices", json={"device_id": device_id, "name": "Simulated"})
                if response.status_code == httpx.codes.CONFLICT:
                    # Forced, because earlier simulations have ended and their keys are not needed.
                    response = client.post(f"/devices/{device_id}/rotate-key", json={"force": True})
            except httpx.TransportError as error:
                raise SimulationError(f"No server answers at {base_url}: {error}") from error
            if not response.is_success:
                raise SimulationError(f"{device_id}: {response.status_code} {response.text}")
            try:
                devices.append(VirtualDevice(device_id, response.json()["api_key"]))
            except (ValueError, LookupError, TypeError) as error:
                raise SimulationError(f"The server at {base_url} is another program.") from error
    return devices

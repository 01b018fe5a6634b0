"""Devices that post to the ASGI application, and a comparison of what was acknowledged with what is stored."""

import asyncio
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID, uuid4

import httpx

from devices.database import placement
from devices.models import Device, DeviceState
from devices.tests.fixtures import FLEET_KEY
from readings.models import Reading

NAMES = [f"d-{number}" for number in range(24)]
HEADERS = {"X-API-Key": FLEET_KEY}


class Posts:
    """Posts readings of all devices, one at a time for each, until `ended`.

    By device id: `acknowledged`: (time, id); `answers`: (time of the answer, seconds that it took, status).
    `batches`: the statuses of batches.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.acknowledged: dict[str, list[tuple[float, UUID]]] = {name: [] for name in NAMES}
        self.answers: dict[str, list[tuple[float, float, int]]] = {name: [] for name in NAMES}
        self.batches: list[int] = []
        self.ended = False

    @property
    def statuses(self) -> set[int]:
        return {status for of_device in self.answers.values() for _, _, status in of_device}

    async def post(self, device_id: str) -> None:
        while not self.ended:
            identifier = uuid4()
            body = {"device_id": device_id, "id": str(identifier), "temperature": 20.5}
            begun = time.monotonic()
            answer = await self.client.post("/ingest", json=body, headers=HEADERS)
            ended = time.monotonic()
            self.answers[device_id].append((ended, ended - begun, answer.status_code))
            if answer.status_code == 201:
                self.acknowledged[device_id].append((ended, identifier))
            else:
                await asyncio.sleep(0.05)  # as a device that tries again

    async def post_batches(self, device_ids: Collection[str]) -> None:
        """Posts batches with a reading of each of these devices, as a gateway, until `ended`."""
        while not self.ended:
            ids = {device_id: uuid4() for device_id in device_ids}
            body = [{"device_id": name, "id": str(identifier), "temperature": 20.5} for name, identifier in ids.items()]
            answer = await self.client.post("/ingest/batch", json=body, headers=HEADERS)
            self.batches.append(answer.status_code)
            if answer.status_code == 201:
                for name, identifier in ids.items():
                    self.acknowledged[name].append((time.monotonic(), identifier))
            await asyncio.sleep(0.2)

    async def all_acknowledged_since(self, moment: float, names: Collection[str]) -> float:
        """When each of these devices had an acknowledgement after `moment`."""
        while not all(any(at > moment for at, _ in reversed(self.acknowledged[name])) for name in names):
            assert time.monotonic() < moment + 30, "no acknowledgement within 30 s"
            await asyncio.sleep(0.02)
        return time.monotonic()


def registered_on_nodes() -> dict[str, int]:
    """Registers the devices of NAMES; returns the number of the node of each. They are on several nodes."""
    Device.objects.register_all([{"device_id": name} for name in NAMES])
    shards, nodes = placement.shards_of(NAMES), placement.node_of_shard()
    node_of = {name: nodes[shards[name]] for name in NAMES}
    assert len(set(node_of.values())) > 1
    return node_of


def assert_nothing_is_lost(posts: Posts) -> None:
    """What was acknowledged is stored once, and the logs are dense."""
    stored: dict[str, list[Any]] = {name: [] for name in NAMES}
    for device_id, seq, identifier in Reading.objects.order_by("device_id", "seq").values_list(
        "device_id", "seq", "id"
    ):
        stored[str(device_id)].append((seq, identifier))
    for name in NAMES:
        ids = [identifier for _, identifier in stored[name]]
        assert {identifier for _, identifier in posts.acknowledged[name]} <= set(ids), name
        assert len(set(ids)) == len(ids), name
        assert [seq for seq, _ in stored[name]] == list(range(1, len(ids) + 1)), name
        assert DeviceState.objects.get(device_id=name).last_seq == len(ids), name


def count(posts: Posts) -> int:
    """The number of acknowledged readings."""
    return sum(map(len, posts.acknowledged.values()))

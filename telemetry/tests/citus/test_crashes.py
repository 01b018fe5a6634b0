"""Nodes that crash while readings are posted: what was acknowledged is stored, and the other nodes' devices go on."""

import asyncio
import os
import time
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from devices.database import placement
from devices.models import Device, DeviceState
from devices.tests.fixtures import FLEET_KEY
from readings.models import Reading
from telemetry.tests.support.citus import crash, workers
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.citus, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

NAMES = [f"d-{number}" for number in range(24)]
CRASHES = int(os.environ.get("CITUS_CRASHES", "3"))
RECOVERY_SECONDS_MAX = 5
HEADERS = {"X-API-Key": FLEET_KEY}


class Posts:
    """Posts readings of all devices, one at a time for each, until `ended`. `acknowledged`: (time, id) by device id."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client
        self.acknowledged: dict[str, list[tuple[float, UUID]]] = {name: [] for name in NAMES}
        self.statuses: set[int] = set()
        self.ended = False

    async def post(self, device_id: str) -> None:
        while not self.ended:
            identifier = uuid4()
            body = {"device_id": device_id, "id": str(identifier), "temperature": 20.5}
            answer = await self.client.post("/ingest", json=body, headers=HEADERS)
            self.statuses.add(answer.status_code)
            if answer.status_code == 201:
                self.acknowledged[device_id].append((time.monotonic(), identifier))
            else:
                await asyncio.sleep(0.05)  # as a device that tries again

    async def all_acknowledged_since(self, moment: float, names: list[str]) -> float:
        """When each of these devices had an acknowledgement after `moment`."""
        while not all(any(at > moment for at, _ in reversed(self.acknowledged[name])) for name in names):
            assert time.monotonic() < moment + 30, "no acknowledgement within 30 s"
            await asyncio.sleep(0.02)
        return time.monotonic()


def test_what_was_acknowledged_is_stored_when_a_node_crashes_under_load():
    Device.objects.register_all([{"device_id": name} for name in NAMES])
    shards, nodes = placement.shards_of(NAMES), placement.node_of_shard()
    node_of = {name: nodes[shards[name]] for name in NAMES}
    cluster = workers()
    assert len(set(node_of.values())) > 1
    recoveries, of_others = [], []

    async def story(client: httpx.AsyncClient) -> Posts:
        posts = Posts(client)
        tasks = [asyncio.create_task(posts.post(name)) for name in NAMES]
        await posts.all_acknowledged_since(time.monotonic(), NAMES)
        for number in range(CRASHES):
            node = sorted(cluster)[number % len(cluster)]
            begun = time.monotonic()
            await asyncio.to_thread(crash, cluster[node])
            others = [name for name in NAMES if node_of[name] != node]
            of_others.append(await posts.all_acknowledged_since(begun, others) - begun)
            recoveries.append(await posts.all_acknowledged_since(time.monotonic(), NAMES) - begun)
        posts.ended = True
        await asyncio.gather(*tasks)
        return posts

    posts: Posts = through_the_lane(story)

    stored: dict[str, list[Any]] = {name: [] for name in NAMES}
    for device_id, seq, identifier in Reading.objects.order_by("device_id", "seq").values_list(
        "device_id", "seq", "id"
    ):
        stored[str(device_id)].append((seq, identifier))
    acknowledged = {(name, identifier) for name, of_device in posts.acknowledged.items() for _, identifier in of_device}
    lost = acknowledged - {(name, identifier) for name, of_device in stored.items() for _, identifier in of_device}
    print(
        f"{CRASHES} crashes, {len(acknowledged)} acknowledged, {len(lost)} lost, answers {sorted(posts.statuses)}, "
        f"recovered in at most {max(recoveries):.1f} s, devices of other nodes served in at most {max(of_others):.1f} s"
    )
    assert lost == set()
    for name in NAMES:
        assert [seq for seq, _ in stored[name]] == list(range(1, len(stored[name]) + 1))
        assert DeviceState.objects.get(device_id=name).last_seq == len(stored[name])
    assert posts.statuses <= {201, 503}
    assert max(recoveries) < RECOVERY_SECONDS_MAX
    assert max(of_others) < RECOVERY_SECONDS_MAX

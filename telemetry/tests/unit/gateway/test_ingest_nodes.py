"""Requests that share a transaction while a node of a distributed database is away, over a pretended map of shards."""

import asyncio
from typing import Any

import pytest
from django.db import OperationalError

from devices.database import placement
from devices.models import Device
from devices.tests.fixtures import FLEET_KEY, shard_of
from readings.log import group_commit, recording
from readings.models import Reading
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

NAMES = [f"d-{n}" for n in range(20)]
# The shards of the node that is away.
AWAY = {1, 3}


@pytest.fixture
def fleet(five_shards: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices on two nodes; a transaction with a device of the second one fails."""
    Device.objects.register_all([{"device_id": name} for name in NAMES])

    def store(readings: Any, **when: Any) -> Any:
        if {shard_of(reading.device_id) for reading in readings} & AWAY:
            raise OperationalError("connection to the remote node failed")
        return recording.store(readings, **when)

    monkeypatch.setattr(placement, "node_of_shard", lambda: {shard: 2 if shard in AWAY else 1 for shard in range(5)})
    monkeypatch.setattr(group_commit, "store", store)


def post(bodies: list[Any]) -> list[Any]:
    headers = {"X-API-Key": FLEET_KEY}

    def post_all(client: Any) -> Any:
        return asyncio.gather(
            *(
                client.post("/ingest" if isinstance(body, dict) else "/ingest/batch", json=body, headers=headers)
                for body in bodies
            )
        )

    return list(through_the_lane(post_all))


def reading(device_id: str) -> dict[str, Any]:
    return {"device_id": device_id, "temperature": 1}


def test_only_the_devices_of_the_node_that_is_away_are_refused(fleet):
    answers = post([reading(name) for name in NAMES])

    refused = {name for name in NAMES if shard_of(name) in AWAY}
    statuses = {name: answer.status_code for name, answer in zip(NAMES, answers, strict=True)}
    assert statuses == {name: 503 if name in refused else 201 for name in NAMES}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 503} == {"database_unavailable"}
    assert set(Reading.objects.values_list("device_id", flat=True)) == set(NAMES) - refused


def test_a_batch_over_both_nodes_is_refused_as_a_whole_and_alone(fleet):
    there = [name for name in NAMES if shard_of(name) not in AWAY]
    (away, *_) = (name for name in NAMES if shard_of(name) in AWAY)

    answers = post([reading(there[0]), [reading(there[1]), reading(away)], [reading(there[2]), reading(there[3])]])

    assert [answer.status_code for answer in answers] == [201, 503, 201]
    assert Reading.objects.count() == 3


def test_a_coordinator_that_is_away_too_is_a_503_for_all(fleet, monkeypatch):
    def away() -> dict[int, int]:
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(placement, "node_of_shard", away)
    assert {answer.status_code for answer in post([reading(name) for name in NAMES])} == {503}

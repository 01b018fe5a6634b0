"""Requests that share a transaction while a node of a distributed database is away, over a pretended map of shards."""

import asyncio
import threading
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from devices.database import placement
from devices.models import Device
from devices.tests.fixtures import FLEET_KEY, shard_of
from readings.log import group_commit, recording
from readings.log.submissions import Submission, devices_of
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


def test_devices_of_other_nodes_do_not_wait_for_a_node_that_hangs(five_shards, monkeypatch):
    Device.objects.register_all([{"device_id": name} for name in NAMES])
    there = [name for name in NAMES if shard_of(name) not in AWAY]
    away = [name for name in NAMES if shard_of(name) in AWAY]
    hangs, answers_again = threading.Event(), threading.Event()

    def store(readings: Any, **when: Any) -> Any:
        if hangs.is_set() and {shard_of(reading.device_id) for reading in readings} & AWAY:
            answers_again.wait(10)
        return recording.store(readings, **when)

    monkeypatch.setattr(placement, "node_of_shard", lambda: {shard: 2 if shard in AWAY else 1 for shard in range(5)})
    monkeypatch.setattr(group_commit, "store", store)

    async def story(client: Any) -> tuple[set[int], bool, set[int]]:
        async def post_all(names: list[str]) -> set[int]:
            posts = (client.post("/ingest", json=reading(name), headers={"X-API-Key": FLEET_KEY}) for name in names)
            return {answer.status_code for answer in await asyncio.gather(*posts)}

        await post_all(NAMES)  # the nodes of all devices are known now
        hangs.set()
        waiting = asyncio.create_task(post_all(away))
        await asyncio.sleep(0.1)
        # A request for both nodes waits too, and those behind it do not.
        both = asyncio.create_task(
            client.post("/ingest/batch", json=[reading(there[0]), reading(away[0])], headers={"X-API-Key": FLEET_KEY})
        )
        others = await post_all(there[1:])
        still_waiting = not waiting.done() and not both.done()
        answers_again.set()
        assert (await both).status_code == 201
        return others, still_waiting, await waiting

    assert through_the_lane(story) == ({201}, True, {201})


async def committer_with(*waiting: tuple[set[str], set[int]]) -> group_commit.GroupCommitter:
    """A committer with these submissions (their devices, the nodes of these), a reading each."""
    committer = group_commit.GroupCommitter()
    for devices, nodes in waiting:
        outcome = asyncio.get_running_loop().create_future()
        readings: Any = [None] * group_commit.PARALLEL_READINGS_MIN
        submission = Submission(readings, timezone.now(), frozenset(devices), outcome, None, frozenset(nodes))
        committer.waiting.append(submission)
        committer.queued_readings += len(readings)
    return committer


def test_what_is_behind_a_request_that_waits_does_not_lock_its_devices(settings):
    """Otherwise a gateway's batch might never find all of its devices unlocked, and a device would lose its order."""
    settings.DISTRIBUTED = True

    async def story() -> list[frozenset[str]]:
        committer = await committer_with(({"a", "b"}, {1, 2}), ({"b"}, {2}), ({"c"}, {2}))
        committer.locked = {"a"}
        taken = [committer.take()]
        committer.locked = set()
        taken.append(committer.take())
        return [devices_of(group) for group in taken]

    assert asyncio.run(story()) == [{"c"}, {"a", "b"}]


def test_a_request_whose_client_is_gone_leaves_the_queue_and_holds_nothing(settings):
    settings.DISTRIBUTED = True

    async def story() -> tuple[frozenset[str], int]:
        committer = await committer_with(({"a", "b"}, {1, 2}), ({"b"}, {2}))
        committer.waiting[0].give_up()
        committer.waiting[0].outcome.exception()
        committer.locked = {"a"}
        return devices_of(committer.take()), committer.queued_readings

    assert asyncio.run(story()) == (frozenset({"b"}), 0)


def test_no_set_of_nodes_is_kept_after_its_transactions(five_shards):
    Device.objects.register_all([{"device_id": name} for name in NAMES])

    async def story(client: Any) -> int:
        body = [reading(name) for name in NAMES]
        answer = await client.post("/ingest/batch", json=body, headers={"X-API-Key": FLEET_KEY})
        assert answer.status_code == 201
        here = list(group_commit.committers)
        await asyncio.gather(*(task for committer in here for task in committer.tasks))
        return sum(len(committer.writing) for committer in here)

    assert through_the_lane(story) == 0

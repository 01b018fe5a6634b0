"""While nobody listens, Redis is asked only ten times a second; who begins to listen misses nothing."""

import asyncio
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from readings.log.entries import Appended, StoredReading
from realtime.announcing import receivers
from realtime.announcing.redis_layer import ChannelLayer
from realtime.protocol.groups import FLEET_GROUP, device_group

NOW = datetime(2026, 5, 9, 14, tzinfo=UTC)
DEVICE = uuid4()


class Layer(ChannelLayer):
    """Redis' layer without Redis: who listens, and what is sent."""

    def __init__(self):
        self.listening, self.questions, self.sent = set(), 0, []

    def by_server(self, groups):
        return {0: list(groups)}

    async def heard(self, groups):
        self.questions += 1
        return self.listening.intersection(groups)

    async def send_to_groups(self, messages):
        self.sent += [(first, last) for _, message in messages for _, first, last, _ in message["stretches"]]


@pytest.fixture
def layer(monkeypatch):
    layer = Layer()
    monkeypatch.setattr(receivers, "get_channel_layer", lambda: layer)
    return layer


def commit(seq, *, waits=False, device=DEVICE):
    reading = StoredReading(uuid4(), "mote-1", seq, NOW, 1.0, None, None, {})
    return receivers.announce([Appended(device, "mote-1", [reading], 1, NOW)], waits=waits)


def test_while_nobody_listens_it_asks_once_for_all_commits_of_a_while(layer):
    async def commit_often():
        await asyncio.gather(*(commit(seq) for seq in range(1, 51)))
        asked = layer.questions
        await asyncio.gather(*(commit(seq) for seq in range(51, 101)))
        return asked, layer.questions

    first, second = asyncio.run(commit_often())

    assert second - first == 1
    assert layer.sent == []


def test_who_begins_to_listen_gets_what_was_committed_since(layer):
    async def listen_between_two_questions():
        await commit(1)
        commits = [asyncio.create_task(commit(seq)) for seq in (2, 3)]
        await asyncio.sleep(0)
        layer.listening.add(FLEET_GROUP)
        commits.append(asyncio.create_task(commit(4)))
        await asyncio.gather(*commits)

    asyncio.run(listen_between_two_questions())

    assert layer.sent == [(2, 2), (3, 3), (4, 4)]
    assert layer.questions == 2


def test_while_somebody_listens_each_commit_is_announced_at_once(layer, monkeypatch):
    monkeypatch.setattr(receivers, "ASK_SECONDS", 3600)
    layer.listening.add(FLEET_GROUP)

    async def commit_three():
        for seq in (1, 2, 3):
            await commit(seq)

    asyncio.run(commit_three())

    assert layer.sent == [(1, 1), (2, 2), (3, 3)]


def test_who_listens_to_one_device_does_not_wait_because_nobody_listens_to_others(layer, monkeypatch):
    monkeypatch.setattr(receivers, "ASK_SECONDS", 3600)
    layer.listening.add(device_group(DEVICE))
    others = [uuid4(), uuid4()]

    async def commit_in_turn():
        await commit(1)
        await commit(8, device=others[0], waits=True)
        unheard = asyncio.create_task(commit(9, device=others[1]))
        await asyncio.sleep(0)
        await asyncio.wait_for(commit(2), 5)
        layer.listening.clear()
        await commit(3)
        unheard.cancel()
        still = asyncio.create_task(commit(4))
        await asyncio.sleep(0)
        still.cancel()

    asyncio.run(commit_in_turn())

    assert layer.sent == [(1, 1), (2, 2)]
    assert layer.questions == 4


def test_a_sender_that_waits_does_not_wait_for_the_next_question(layer, monkeypatch):
    monkeypatch.setattr(receivers, "ASK_SECONDS", 3600)

    async def commit_two():
        await commit(1)
        waiting = asyncio.create_task(commit(2))
        await asyncio.sleep(0)
        layer.listening.add(FLEET_GROUP)
        await commit(3, waits=True)
        waiting.cancel()

    asyncio.run(commit_two())

    assert layer.sent == [(2, 2), (3, 3)]


def test_many_readings_do_not_wait(layer, monkeypatch):
    monkeypatch.setattr(receivers, "ASK_SECONDS", 3600)
    monkeypatch.setattr(receivers, "WAITING_READINGS_MAX", 2)

    async def commit_four():
        await commit(1)
        waiting = [asyncio.create_task(commit(seq)) for seq in (2, 3)]
        await asyncio.sleep(0)
        await commit(4)
        waiting[0].cancel()

    asyncio.run(commit_four())

    assert layer.questions == 2

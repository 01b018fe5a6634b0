"""Database work of sockets: none for a live frame, and one read for all sockets that lack the same readings."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from channels.layers import get_channel_layer

from realtime.protocol.groups import device_group
from realtime.stream import replays
from realtime.stream.hub import current_hub
from realtime.tests.socket.test_socket_gaps import Tape, tape  # noqa: F401  `tape` is a fixture
from realtime.tests.sockets import Socket, in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)

WATCHERS = 5


async def watchers(stack: AsyncExitStack, address: str) -> list[Socket]:
    sockets = [await stack.enter_async_context(watching(address)) for _ in range(WATCHERS)]
    for socket in sockets:
        assert (await socket.frame())["type"] == "subscribed"
    return sockets


@in_a_loop
async def test_a_hole_is_read_once_for_all_who_watch(device, tape, reads):  # noqa: F811
    async with AsyncExitStack() as stack:
        sockets = await watchers(stack, "mote-1")
        await measure(3)
        await tape.play(device, 2)
        assert [await socket.seqs(3) for socket in sockets] == [[1, 2, 3]] * WATCHERS
    assert reads == [{"mote-1": 0}]


def held_up(monkeypatch) -> asyncio.Event:
    """An event; reads of logs wait until it is set."""
    may_read = asyncio.Event()
    stored = replays.stored

    async def waiting(after, until, limit):
        await may_read.wait()
        return await stored(after, until, limit)

    monkeypatch.setattr(replays, "stored", waiting)
    return may_read


@in_a_loop
async def test_what_is_new_waits_for_the_replay(device, reads, monkeypatch):
    await measure(3)
    may_read = held_up(monkeypatch)
    async with watching("mote-1?after=0") as socket:
        await socket.frame()
        await measure(2)
        await socket.says_nothing_more()
        may_read.set()
        assert await socket.seqs(5) == [1, 2, 3, 4, 5]
        await socket.says_nothing_more()


@in_a_loop
async def test_those_who_come_back_together_share_what_is_read(device, reads, monkeypatch):
    await measure(3)
    may_read = held_up(monkeypatch)
    async with AsyncExitStack() as stack:
        sockets = await watchers(stack, "mote-1?after=1")
        may_read.set()
        assert [await socket.seqs(2) for socket in sockets] == [[2, 3]] * WATCHERS
    assert reads == [{"mote-1": 1}]


@in_a_loop
async def test_a_live_frame_needs_no_thread(device, tape, monkeypatch):  # noqa: F811
    monkeypatch.setattr("realtime.stream.checker.SOON_SECONDS", 60)
    async with AsyncExitStack() as stack:
        sockets = await watchers(stack, "mote-1")
        await measure(3)
        messages = list(tape.messages)
        with monkeypatch.context() as patched:
            patched.setattr(asyncio.get_running_loop(), "run_in_executor", None)
            patched.setattr("asgiref.sync.SyncToAsync.__call__", None)
            for message in messages:
                await get_channel_layer().group_send(device_group(device.pk), message)
            assert [await socket.seqs(3) for socket in sockets] == [[1, 2, 3]] * WATCHERS


@in_a_loop
async def test_what_arrives_together_is_sent_in_one_frame(device, tape):  # noqa: F811
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(20)
        for message in tape.messages:
            current_hub().feed.hear(message)
        frame = await socket.frame()
        assert [reading["seq"] for reading in frame["readings"]] == list(range(1, 21))


@in_a_loop
async def test_a_socket_that_resumes_while_readings_arrive_gets_each_once(device):
    await measure(50)
    async with watching("mote-1") as witness:
        await witness.frame()
        measuring = asyncio.create_task(measure(100))
        for after in (0, 10, 49, 20):
            async with watching(f"mote-1?after={after}") as socket:
                await socket.frame()
                count = 60 - after
                assert (await socket.seqs(count))[:count] == list(range(after + 1, 61))
        await measuring
        assert await witness.seqs(100) == list(range(51, 151))

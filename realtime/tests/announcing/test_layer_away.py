"""Sockets while the channel layer does not answer. For ingest see test_announcing.py."""

import asyncio

import pytest
from channels.layers import get_channel_layer

from realtime.stream import checker
from realtime.tests.sockets import in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)


class Away:
    """A channel layer whose server refuses connections or, with `hangs`, never answers."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs

    async def new_channel(self, prefix: str = "specific") -> str:
        if self.hangs:
            await asyncio.Event().wait()
        raise ConnectionError("no Redis")

    group_add = group_discard = group_send = receive = new_channel


@pytest.fixture
def quick_checks(monkeypatch):
    monkeypatch.setattr(checker, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(checker, "SOON_SECONDS", 0.1)


@pytest.mark.parametrize("hangs", [False, True])
@in_a_loop
async def test_a_new_socket_is_served_from_the_database(device, monkeypatch, quick_checks, hangs):
    monkeypatch.setattr("realtime.stream.listener.JOIN_SECONDS", 0.2)
    for module in ("stream.listener", "announcing.receivers"):
        monkeypatch.setattr(f"realtime.{module}.get_channel_layer", lambda: Away(hangs=hangs))
    await measure(2)
    async with watching("mote-1?after=0") as socket:
        assert (await socket.frame())["last_seq"] == 2
        assert await socket.seqs(2) == [1, 2]
        await measure(3)
        assert await socket.seqs(3) == [3, 4, 5]


@in_a_loop
async def test_a_socket_of_a_time_without_the_layer_hears_it_when_it_is_back(device, monkeypatch, quick_checks):
    layers: list[object] = [Away()]
    monkeypatch.setattr("realtime.stream.listener.get_channel_layer", lambda: Switch(layers))
    async with watching("mote-1") as socket:
        await socket.frame()
        layers[0] = get_channel_layer()
        await asyncio.sleep(0.5)
        monkeypatch.setattr(checker, "CHECK_SECONDS", 60)
        monkeypatch.setattr(checker, "SOON_SECONDS", 60)
        await asyncio.sleep(0.5)
        await measure(1)
        assert await socket.seqs(1) == [1]


class Switch:
    """Passes calls on to the layer that is currently first in `layers`."""

    def __init__(self, layers: list[object]) -> None:
        self.layers = layers

    def __getattr__(self, name: str) -> object:
        return getattr(self.layers[0], name)


@in_a_loop
async def test_a_socket_sees_what_was_not_announced_as_soon_as_something_is(device, monkeypatch):
    async with watching("mote-1") as socket:
        await socket.frame()
        with monkeypatch.context() as away:
            away.setattr("realtime.announcing.receivers.get_channel_layer", Away)
            await measure(3)
        await socket.says_nothing_more()
        await measure(1)
        assert await socket.seqs(4) == [1, 2, 3, 4]

"""Sockets while the channel layer is away. Ingest is in test_announcing.py."""

import pytest

from devices.tests.fixtures import ADMIN_KEY
from realtime.tests.sockets import fate, in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)


class Away:
    """A channel layer that cannot reach its server."""

    async def new_channel(self, prefix: str = "specific") -> str:
        raise ConnectionError("no Redis")

    group_add = group_discard = group_send = new_channel


@in_a_loop
async def test_a_new_socket_is_served_or_told_to_try_again(device, monkeypatch):
    monkeypatch.setattr("channels.consumer.get_channel_layer", lambda alias: Away())
    assert (await fate("mote-1", x_api_key=ADMIN_KEY)).startswith(("subscribed", "4503"))


@in_a_loop
async def test_a_socket_sees_what_was_not_announced_as_soon_as_something_is(device, monkeypatch):
    async with watching("mote-1") as socket:
        await socket.frame()
        with monkeypatch.context() as away:
            away.setattr("realtime.receivers.get_channel_layer", Away)
            await measure(3)
        await socket.says_nothing_more()
        await measure(1)
        assert await socket.seqs(4) == [1, 2, 3, 4]

"""The channel layer on Redis: groups with listeners, and messages to many groups at once."""

from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.conf import settings

from realtime.announcing.redis_layer import ChannelLayer
from realtime.tests.sockets import in_a_loop


@in_a_loop
async def test_it_knows_which_groups_are_heard_in_any_process():
    layer = get_channel_layer()
    configuration: Any = settings.CHANNEL_LAYERS["default"]
    another_process = ChannelLayer(**configuration["CONFIG"])
    assert await layer.heard(["group.one", "group.two"]) == set()

    await another_process.group_add("group.two", await another_process.new_channel())

    assert await layer.heard(["group.one", "group.two"]) == {"group.two"}
    assert await layer.heard([]) == set()
    await another_process.flush()
    await layer.flush()


@in_a_loop
@pytest.mark.parametrize("servers", [1, 3])
async def test_messages_to_many_groups_arrive_each_in_its_own_in_order(servers):
    configuration: Any = settings.CHANNEL_LAYERS["default"]
    layer = ChannelLayer(hosts=configuration["CONFIG"]["hosts"] * servers)
    channels = {f"group.{number}": await layer.new_channel() for number in range(3)}
    for group, channel in channels.items():
        await layer.group_add(group, channel)

    messages: list[tuple[str, dict[str, Any]]] = [
        (f"group.{number % 3}", {"type": "test", "number": number}) for number in range(9)
    ]
    await layer.send_to_groups(messages)

    for number, channel in enumerate(channels.values()):
        received = [(await layer.receive(channel))["number"] for _ in range(3)]
        assert received == [number, number + 3, number + 6]
    assert await layer.heard([*channels, "group.nobody"]) == set(channels)
    await layer.flush()


@in_a_loop
@pytest.mark.parametrize("differing", ["SECRET_KEY", "database"])
async def test_another_installation_on_the_same_redis_hears_nothing(monkeypatch, differing):
    configuration: Any = settings.CHANNEL_LAYERS["default"]
    with monkeypatch.context() as patch:
        if differing == "database":
            patch.setitem(settings.DATABASES["default"], "NAME", "another")
        else:
            patch.setattr(settings, "SECRET_KEY", "another")
        others = ChannelLayer(**configuration["CONFIG"])
    ours = ChannelLayer(**configuration["CONFIG"])
    await others.group_add("fleet", await others.new_channel())

    assert await others.heard(["fleet"]) == {"fleet"}
    assert await ours.heard(["fleet"]) == set()
    await others.flush()
    await ours.flush()

"""Several Redis servers: one that hangs delays only its own groups."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer

from devices.models import Device
from devices.tests.fixtures import new_client
from realtime.announcing import receivers
from realtime.announcing.redis_layer import ChannelLayer
from realtime.protocol.groups import FLEET_GROUP, by_server, device_group
from realtime.stream import checker
from realtime.stream.listener import Listener
from realtime.tests.sockets import in_a_loop, measure, watching
from telemetry.tests.support.servers.redis_server import Redis

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once, pytest.mark.slow]

HUNG = 1


@pytest.fixture
def servers(tmp_path: Path, settings) -> Iterator[list[Redis]]:
    with Redis(tmp_path) as one, Redis(tmp_path) as two:
        hosts = [{"address": redis.url, "socket_connect_timeout": 2, "socket_timeout": None} for redis in (one, two)]
        settings.CHANNEL_LAYERS = {
            "default": {"BACKEND": "realtime.announcing.redis_layer.ChannelLayer", "CONFIG": {"hosts": hosts}}
        }
        yield [one, two]


def pause(server: Redis) -> None:
    os.kill(server.process.pid, signal.SIGSTOP)


def resume(server: Redis) -> None:
    os.kill(server.process.pid, signal.SIGCONT)


async def devices_on_each() -> list[str]:
    """For each server a device whose group it carries."""
    layer: Any = get_channel_layer()
    assert isinstance(layer, ChannelLayer)
    found: dict[int, str] = {}
    for n in range(50):
        device, _ = await asyncio.to_thread(Device.objects.register, device_id=f"mote-{n}")
        (server,) = by_server(layer, [device_group(device.pk)])
        found.setdefault(server, device.device_id)
        if len(found) == 2:
            return [found[0], found[1]]
    raise AssertionError("no device on one of the servers")


@in_a_loop
async def test_one_that_hangs_delays_only_its_own_groups(servers, monkeypatch, caplog):
    monkeypatch.setattr(checker, "CHECK_SECONDS", 60)  # nothing comes from the database
    monkeypatch.setattr(checker, "SOON_SECONDS", 60)
    good, bad = await devices_on_each()
    async with watching(good) as socket, watching(bad) as other:
        await socket.frame()
        await other.frame()
        for name in (good, bad):
            await measure(1, name)
        assert (await socket.seqs(1), await other.seqs(1)) == ([1], [1])
        pause(servers[HUNG])
        try:
            waits = []
            for n in range(2, 8):
                started = time.monotonic()
                await asyncio.gather(measure(1, good), measure(1, bad))
                assert await socket.seqs(1) == [n]
                waits.append(time.monotonic() - started)
        finally:
            resume(servers[HUNG])
        # The first commit waits until the breaker opens; its reading does not.
        assert sorted(waits)[-2] < receivers.ANNOUNCE_SECONDS
    (record,) = [record for record in caplog.records if record.name == "realtime.announcing.breaker"]
    assert "server 2 of REDIS_URL" in record.getMessage()


@in_a_loop
async def test_a_socket_joins_on_the_server_that_answers(servers, monkeypatch):
    monkeypatch.setattr("realtime.stream.listener.JOIN_SECONDS", 1.0)
    layer: Any = get_channel_layer()
    groups = [f"device.{n:032x}" for n in range(20)]
    split = by_server(layer, groups)
    assert len(split) == 2
    heard = asyncio.Event()
    listener = Listener(lambda message: heard.set())
    pause(servers[HUNG])
    try:
        listener.wanted.update(groups)
        for _ in range(3):  # the channel may be on the server that hangs at first
            await listener.reconcile()
        assert listener.joined == set(split[0])
        await layer.group_send(split[0][0], {"type": "readings.recorded"})
        await asyncio.wait_for(heard.wait(), timeout=1)
    finally:
        resume(servers[HUNG])
    await listener.reconcile()
    assert listener.joined == set(groups)
    listener.wanted.clear()
    await listener.rest()
    assert listener.channel is None


@pytest.mark.parametrize("away", [0, 1])
def test_health_asks_every_server(servers, away, caplog):
    client = new_client()
    assert client.get("/health").json()["checks"]["channel_layer"] == "ok"
    pause(servers[away])
    try:
        started = time.monotonic()
        answer = client.get("/health")
        assert time.monotonic() - started < 4
    finally:
        resume(servers[away])
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["checks"]["channel_layer"]) == ("degraded", "unavailable")
    assert f"server {away + 1} of REDIS_URL" in caplog.text


def test_the_groups_of_a_layer_without_servers_are_on_one():
    assert by_server(object(), [FLEET_GROUP, "other"]) == {0: [FLEET_GROUP, "other"]}
    assert by_server(object(), []) == {}

"""A device that was erased and registered again has a new log, and clients get it from its first reading."""

import json

import pytest
from asgiref.sync import sync_to_async

from devices.models import Device
from readings.upkeep.erasure import erase
from realtime.stream import checker
from realtime.stream.hub import current_hub
from realtime.tests.socket.test_fleet_socket import SUBSCRIBED, logs, opening
from realtime.tests.sockets import in_a_loop, measure, watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture
def unchecked(monkeypatch):
    monkeypatch.setattr(checker, "SOON_SECONDS", 60)


@pytest.fixture
def quick_checks(monkeypatch):
    monkeypatch.setattr(checker, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(checker, "SOON_SECONDS", 0.05)


@sync_to_async
def register_again(device_id: str = "mote-1") -> Device:
    for _ in erase(Device.objects.get(device_id=device_id), with_device=True):
        pass
    return Device.objects.register(device_id=device_id)[0]


@in_a_loop
async def test_a_position_in_another_log_begins_at_its_first_reading(device):
    await measure(4)
    async with watching("mote-1") as socket:
        old = (await socket.frame())["log"]
    again = await register_again()
    await measure(3)
    async with watching(f"mote-1?after=2&log={old}") as socket:
        frame = await socket.frame()
        assert (frame["last_seq"], frame["log"]) == (3, str(again.pk))
        assert await socket.seqs(3) == [1, 2, 3]
    for query in (f"?after=2&log={again.pk}", f"?after=2&log={str(again.pk).upper()}", "?after=2"):
        async with watching(f"mote-1{query}") as socket:
            await socket.frame()
            assert await socket.seqs(1) == [3]
            await socket.says_nothing_more()


@in_a_loop
async def test_a_log_without_a_position_begins_with_what_is_new(device):
    await measure(2)
    async with watching(f"mote-1?log={device.pk}") as socket:
        await socket.frame()
        await socket.says_nothing_more()


@in_a_loop
async def test_a_log_that_is_none_closes_it(device):
    for log in ("", "1", "x" * 36, f"{{{device.pk}}}", f"{device.pk}%00", device.pk.hex, "%D9%A1" * 36):
        async with watching(f"mote-1?after=0&log={log}") as socket:
            assert (await socket.frame())["code"] == "invalid_log"
            assert await socket.close_code() == 4400


@in_a_loop
async def test_who_watches_the_old_log_is_told_though_the_new_one_is_longer(device, quick_checks):
    """The new log is announced to another group, so only the check of positions can find it."""
    await measure(2)
    async with watching("mote-1") as socket:
        await socket.frame()
        await register_again()
        await measure(5)
        assert (await socket.frame())["code"] == "log_replaced"
        assert await socket.close_code() == 1013


@in_a_loop
async def test_the_fleet_is_told_by_the_first_message_though_it_would_follow_on_the_old_log(device, unchecked):
    await measure(2)
    async with watching("") as fleet:
        await opening(fleet)
        await register_again()
        await measure(3)
        assert (await fleet.frame())["code"] == "log_replaced"
        assert await fleet.close_code() == 1013


@in_a_loop
async def test_who_comes_for_the_new_log_does_not_get_the_old_one(device, unchecked):
    await measure(4)
    async with watching("mote-1") as old:
        await old.frame()
        again = await register_again()
        await measure(1)
        async with watching("mote-1?after=0") as new:
            assert (await new.frame())["log"] == str(again.pk)
            assert await new.seqs(1) == [1]
            assert (await old.frame())["code"] == "log_replaced"
            await old.close_code()
            await measure(1)
            assert await new.seqs(1) == [2]
    assert not current_hub().feed.logs
    assert not current_hub().listener.wanted


@in_a_loop
async def test_a_client_of_the_fleet_says_of_which_logs_it_knows_positions(device, other_device):
    await measure(4)
    await measure(3, "mote-2")
    async with watching("") as fleet:
        assert await fleet.frame() == SUBSCRIBED
        named = {entry["device_id"]: entry["log"] for entry in (await fleet.frame())["devices"]}
    assert named == {"mote-1": str(device.pk), "mote-2": str(other_device[0].pk)}
    await register_again()
    await measure(3)
    positions = {"mote-1": 2, "mote-2": 2}
    for resumed, expected in (
        ({"logs": named}, {"mote-1": [1, 2, 3], "mote-2": [3]}),
        ({"logs": named, "others": "now"}, {"mote-1": [1, 2, 3], "mote-2": [3]}),
        ({"logs": {"mote-2": named["mote-2"]}}, {"mote-1": [3], "mote-2": [3]}),
        ({}, {"mote-1": [3], "mote-2": [3]}),
    ):
        async with watching("?resume=true") as fleet:
            await fleet.frame()
            await fleet.send_to(text_data=json.dumps({"type": "resume", "positions": positions} | resumed))
            await fleet.frame()
            assert await logs(fleet, sum(map(len, expected.values()))) == expected
            await fleet.says_nothing_more()


@pytest.mark.parametrize("said", [{"logs": {"mote-1": "x"}}, {"logs": {"mote-1": None}}, {"logs": []}])
@in_a_loop
async def test_logs_it_cannot_read_get_an_error_and_may_be_sent_again(device, said):
    async with watching("?resume=true") as fleet:
        await fleet.frame()
        await fleet.send_to(text_data=json.dumps({"type": "resume", "positions": {"mote-1": 0}} | said))
        assert (await fleet.frame())["code"] == "unreadable"

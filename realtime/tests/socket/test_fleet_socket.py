"""The socket of the whole fleet sends every reading, and to a client that resumes what it missed."""

import json

import pytest
from asgiref.sync import sync_to_async

from devices.models import Device
from readings.tests.logs import at, new, store
from realtime.protocol import frames
from realtime.tests.sockets import Socket, in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)

SUBSCRIBED = {"type": "subscribed", "device_id": None, "last_seq": None, "status": None}


async def opening(socket: Socket) -> dict[str, int]:
    """Reads the first frames of a fleet's socket; returns the length of each log by device id."""
    assert await socket.frame() == SUBSCRIBED
    return await positions(socket)


async def positions(socket: Socket) -> dict[str, int]:
    found: dict[str, int] = {}
    more = True
    while more:
        frame = await socket.frame()
        assert frame["type"] == "positions", frame
        found |= {device["device_id"]: device["last_seq"] for device in frame["devices"]}
        more = frame["more"]
    return found


async def logs(socket: Socket, count: int) -> dict[str, list[int]]:
    """The `seq` of the next `count` readings, by device id."""
    found: dict[str, list[int]] = {}
    while sum(map(len, found.values())) < count:
        frame = await socket.frame()
        if frame["type"] == "readings":
            found.setdefault(frame["device_id"], []).extend(reading["seq"] for reading in frame["readings"])
    return found


async def resume(socket: Socket, positions: dict[str, int], **more: object) -> None:
    await socket.send_to(text_data=json.dumps({"type": "resume", "positions": positions} | more))


@in_a_loop
async def test_it_first_says_where_every_log_ends(device, other_device):
    await measure(3)
    async with watching("") as socket:
        assert await opening(socket) == {"mote-1": 3, "mote-2": 0}
        await socket.says_nothing_more()


@in_a_loop
async def test_it_first_says_when_each_device_was_last_heard_from(device, other_device):
    await sync_to_async(store)([new(timestamp=at(-86_400))], received_at=at(5))
    await sync_to_async(store)([new("mote-2", timestamp=at(60))], received_at=None)
    async with watching("") as socket:
        assert await socket.frame() == SUBSCRIBED
        found = {one["device_id"]: (one["status"], one["last_seen_at"]) for one in (await socket.frame())["devices"]}
    assert found == {"mote-1": ("offline", "2026-05-09T12:00:05.000000Z"), "mote-2": ("never", None)}


@in_a_loop
async def test_a_large_fleet_is_listed_in_several_frames(device, other_device, monkeypatch):
    monkeypatch.setattr(frames, "POSITIONS_PER_FRAME", 1)
    async with watching("") as socket:
        assert await opening(socket) == {"mote-1": 0, "mote-2": 0}


@in_a_loop
async def test_an_empty_fleet_is_listed_too():
    async with watching("") as socket:
        assert await opening(socket) == {}


@in_a_loop
async def test_it_hears_of_every_device(device, other_device):
    async with watching("") as socket:
        await opening(socket)
        await measure(2)
        await measure(2, "mote-2")
        assert await logs(socket, 4) == {"mote-1": [1, 2], "mote-2": [1, 2]}


@in_a_loop
async def test_it_hears_of_devices_that_were_registered_since(device, monkeypatch):
    monkeypatch.setattr("realtime.stream.checker.SOON_SECONDS", 60)  # only a message can show it
    async with watching("") as socket:
        await opening(socket)
        await sync_to_async(Device.objects.register)(device_id="mote-3")
        await measure(2, "mote-3")
        assert await logs(socket, 2) == {"mote-3": [1, 2]}


@in_a_loop
async def test_who_was_here_before_gets_what_was_missed_also_of_new_devices(device, other_device):
    await measure(4)
    await measure(2, "mote-2")
    async with watching("?resume=true") as socket:
        assert await socket.frame() == SUBSCRIBED
        await resume(socket, {"mote-1": 1}, more=True)
        await resume(socket, {"erased": 7})
        assert await positions(socket) == {"mote-1": 4, "mote-2": 2}
        assert await logs(socket, 5) == {"mote-1": [2, 3, 4], "mote-2": [1, 2]}
        await measure(1)
        assert await logs(socket, 1) == {"mote-1": [5]}
        await socket.says_nothing_more()


@in_a_loop
async def test_who_had_not_yet_heard_of_all_devices_gets_the_others_from_now_on(device, other_device):
    await measure(4)
    await measure(2, "mote-2")
    async with watching("?resume=true") as socket:
        await socket.frame()
        await resume(socket, {"mote-1": 3}, others="now")
        assert await positions(socket) == {"mote-1": 4, "mote-2": 2}
        assert await logs(socket, 1) == {"mote-1": [4]}
        await socket.says_nothing_more()


@in_a_loop
async def test_what_many_devices_missed_is_read_many_devices_at_a_time(reads):
    names = [f"mote-{number}" for number in range(30)]
    for name in names:
        await sync_to_async(Device.objects.register)(device_id=name)
    await sync_to_async(store)([new(name) for name in names for _ in range(2)])
    async with watching("?resume=true") as socket:
        await socket.frame()
        await resume(socket, {})
        await positions(socket)
        assert await logs(socket, 60) == {name: [1, 2] for name in names}
    assert len(reads) == 1


@pytest.mark.parametrize(
    "said",
    [{"positions": {"mote-1": -1}}, {"positions": {"mote-1": "1"}}, {"positions": []}, {"others": "none"}, {"more": 1}],
)
@in_a_loop
async def test_positions_it_cannot_read_get_an_error_and_may_be_sent_again(device, said):
    await measure(2)
    async with watching("?resume=true") as socket:
        await socket.frame()
        await socket.send_to(text_data=json.dumps({"type": "resume"} | said))
        assert (await socket.frame())["code"] == "unreadable"
        await resume(socket, {"mote-1": 1})
        await positions(socket)
        assert await logs(socket, 1) == {"mote-1": [2]}


@in_a_loop
async def test_who_never_says_where_it_was_is_closed(device, monkeypatch):
    monkeypatch.setattr("realtime.consumers.RESUME_SECONDS", 0.1)
    async with watching("?resume=true") as socket:
        await socket.frame()
        assert (await socket.frame())["code"] == "resume_timeout"
        assert await socket.close_code() == 4400
    async with watching("?resume=maybe") as socket:
        assert (await socket.frame())["code"] == "invalid_resume"
        assert await socket.close_code() == 4400


@in_a_loop
async def test_a_fleet_and_a_device_watched_at_once_do_not_disturb_each_other(device, other_device):
    async with watching("mote-1?after=0") as one:
        await one.frame()
        async with watching("") as fleet:
            await opening(fleet)
            await measure(2)
            assert await logs(fleet, 2) == {"mote-1": [1, 2]}
        await measure(1)
        assert await one.seqs(3) == [1, 2, 3]
        async with watching("") as fleet:
            assert await opening(fleet) == {"mote-1": 3, "mote-2": 0}

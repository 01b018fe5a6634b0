"""The socket of one device sends every reading of its log, in order, once."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from devices.models import DeviceState
from readings.tests.logs import new, store
from readings.tests.sealing import damage_segment, seal
from realtime.protocol import frames
from realtime.tests.sockets import in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)


@in_a_loop
async def test_it_first_says_how_long_the_log_is(device):
    await measure(3)
    async with watching("mote-1") as socket:
        frame = await socket.frame()
        seen = "2026-05-09T12:00:00.000000Z"
        known = {"device_id": "mote-1", "last_seq": 3, "status": "offline", "last_seen_at": seen, "log": str(device.pk)}
        assert frame == {"type": "subscribed"} | known
        await socket.says_nothing_more()


@in_a_loop
async def test_a_posted_reading_arrives_as_history_shows_it(device, as_device, admin):
    async with watching("mote-1") as socket:
        await socket.frame()
        await sync_to_async(as_device.post)("/api/v1/ingest", {"temperature": 21.5, "voltage": 4, "rssi": -61})
        frame = await socket.frame()
    history = await sync_to_async(admin.get)("/api/v1/devices/mote-1/history")
    known = await sync_to_async(admin.get)("/api/v1/devices/mote-1")
    assert frame == {
        "type": "readings",
        "device_id": "mote-1",
        "last_seen_at": known.json()["last_seen_at"],
        "readings": history.json()["results"],
    }
    assert frame["readings"][0].items() >= {"seq": 1, "temperature": 21.5, "voltage": 4, "rssi": -61}.items()


@pytest.mark.parametrize("age_seconds", [0, 5400, 31 * 86_400])
@in_a_loop
async def test_live_readings_say_when_they_were_received_not_when_they_were_measured(device, as_device, age_seconds):
    async with watching("mote-1") as socket:
        await socket.frame()
        await sync_to_async(as_device.post)("/api/v1/ingest", {"temperature": 21.5, "age_seconds": age_seconds})
        frame = await socket.frame()
    state = await DeviceState.objects.aget()
    assert frame["last_seen_at"] == frames.moment(state.last_seen_at)


@in_a_loop
async def test_neither_an_import_nor_a_replay_says_that_the_device_was_heard_from(device):
    now = timezone.now()
    async with watching("mote-1") as socket:
        assert (await socket.frame())["last_seen_at"] is None
        await sync_to_async(store)([new(timestamp=now - timedelta(days=606))], received_at=None)
        assert "last_seen_at" not in await socket.frame()
    async with watching("mote-1?after=0") as socket:
        frame = await socket.frame()
        assert (frame["status"], frame["last_seen_at"]) == ("never", None)
        assert "last_seen_at" not in await socket.frame()
        await sync_to_async(store)([new()], received_at=now)
        assert (await socket.frame())["last_seen_at"] == frames.moment(now)
    async with watching("mote-1?after=1") as socket:
        assert (await socket.frame())["last_seen_at"] == frames.moment(now)
        assert "last_seen_at" not in await socket.frame()


@in_a_loop
async def test_live_readings_follow_in_order(device):
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(20)
        assert await socket.seqs(20) == list(range(1, 21))
        await socket.says_nothing_more()


@in_a_loop
async def test_it_hears_nothing_of_other_devices(device, other_device):
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(2, "mote-2")
        await measure(1)
        assert await socket.seqs(1) == [1]
        await socket.says_nothing_more()


@in_a_loop
async def test_every_watcher_gets_every_reading(device):
    async with watching("mote-1") as one, watching("mote-1") as another:
        await one.frame()
        await another.frame()
        await measure(3)
        assert await one.seqs(3) == await another.seqs(3) == [1, 2, 3]


@pytest.mark.parametrize(
    ("after", "expected"),
    [("", []), ("?after=0", [1, 2, 3, 4]), ("?after=2", [3, 4]), ("?after=4", []), ("?after=999999999999999999", [])],
)
@in_a_loop
async def test_it_replays_what_is_stored_after_a_position_and_goes_live(device, after, expected):
    await measure(4)
    async with watching(f"mote-1{after}") as socket:
        assert (await socket.frame())["last_seq"] == 4
        assert await socket.seqs(len(expected)) == expected
        await socket.says_nothing_more()
        await measure(2)
        assert await socket.seqs(2) == [5, 6]


@in_a_loop
async def test_a_long_replay_comes_in_several_frames(device, monkeypatch):
    monkeypatch.setattr(frames, "READINGS_PER_FRAME", 3)
    await measure(8)
    async with watching("mote-1?after=0") as socket:
        await socket.frame()
        received = [await socket.frame() for _ in range(3)]
        await socket.says_nothing_more()
    assert [[reading["seq"] for reading in frame["readings"]] for frame in received] == [[1, 2, 3], [4, 5, 6], [7, 8]]


UNREADABLE = ["", "hello", "[]", "1", "null", "{}", '{"type":"shout"}', '{"type":1}', '{"type":"ping"', "[" * 60_000]


@in_a_loop
async def test_what_it_cannot_read_gets_an_error_and_the_socket_stays(device):
    messages = [{"text": text} for text in UNREADABLE] + [{"bytes": bytes_} for bytes_ in (b"", b"\xff", b"1")]
    async with watching("mote-1") as socket:
        await socket.frame()
        for message in messages:
            await socket.send_input({"type": "websocket.receive"} | message)
            error = await socket.frame()
            assert error.keys() == {"type", "code", "detail"}
            assert (error["type"], error["code"]) == ("error", "unreadable")
        await measure(1)
        assert await socket.seqs(1) == [1]
        await socket.says_nothing_more()


@in_a_loop
async def test_a_ping_may_say_more_than_it_has_to(device):
    async with watching("mote-1") as socket:
        await socket.frame()
        await socket.send_to(text_data='{"type": "ping", "sent": 12345}')
        assert await socket.frame() == {"type": "pong"}


@in_a_loop
async def test_a_position_that_is_none_closes_it(device):
    for after in ("-1", "1.5", "x", "", "%00", "9" * 19, "%D9%A1", "1%20"):
        async with watching(f"mote-1?after={after}") as socket:
            error = await socket.frame()
            assert (error["type"], error["code"]) == ("error", "invalid_after")
            assert await socket.close_code() == 4400


@in_a_loop
async def test_a_replay_ends_where_the_log_is_damaged(device):
    await measure(6)
    await sync_to_async(seal)("mote-1", [[1, 2], [3, 4]], until=4)
    await sync_to_async(damage_segment)("mote-1", 3)
    async with watching("mote-1?after=0") as socket:
        assert (await socket.frame())["type"] == "subscribed"
        frame = await socket.frame()
        assert (frame["type"], frame["code"]) == ("error", "log_damaged")
        assert "3 to 4 of mote-1" in frame["detail"]
        assert await socket.close_code() == 1011
    async with watching("mote-1?after=4") as socket:
        await socket.frame()
        assert [reading["seq"] for reading in (await socket.frame())["readings"]] == [5, 6]

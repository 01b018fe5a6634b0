"""Announcements that are lost, doubled or out of order: the database fills the gaps."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from devices.models import Device
from readings.models import Segment
from readings.tests.logs import new, store
from readings.tests.sealing import damage_segment, seal
from realtime.announcing import receivers
from realtime.protocol import frames
from realtime.protocol.groups import FLEET_GROUP, device_group
from realtime.stream import checker
from realtime.tests.sockets import in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables the regular check, so that a gap must be filled because of the message that shows it."""
    monkeypatch.setattr(checker, "SOON_SECONDS", 60)


class Tape:
    """A channel layer that keeps the messages and delivers none."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if group != FLEET_GROUP:
            self.messages.append(message)

    async def play(self, device: Device, *numbers: int) -> None:
        for number in numbers:
            await get_channel_layer().group_send(device_group(device.pk), self.messages[number])


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    tape = Tape()
    monkeypatch.setattr(receivers, "get_channel_layer", lambda: tape)
    return tape


@in_a_loop
async def test_a_message_that_shows_a_hole_makes_it_read_the_hole(device, tape):
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(3)
        await tape.play(device, 2)
        assert await socket.seqs(3) == [1, 2, 3]
        await measure(1)
        await tape.play(device, 3)
        assert await socket.seqs(1) == [4]
        await socket.says_nothing_more()


@in_a_loop
async def test_a_hole_longer_than_a_frame_is_read_whole(device, tape, monkeypatch):
    monkeypatch.setattr(frames, "READINGS_PER_FRAME", 2)
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(5)
        await tape.play(device, 4)
        assert await socket.seqs(5) == [1, 2, 3, 4, 5]


@in_a_loop
async def test_messages_announced_in_the_wrong_order_arrive_in_the_right_one(device, tape):
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(4)
        await tape.play(device, 1, 0, 3, 2)
        assert await socket.seqs(4) == [1, 2, 3, 4]
        await socket.says_nothing_more()


@in_a_loop
async def test_what_is_known_already_is_dropped(device, tape):
    await measure(2)
    async with watching("mote-1?after=0") as socket:
        await socket.frame()
        assert await socket.seqs(2) == [1, 2]
        await tape.play(device, 0, 1, 1)
        await socket.says_nothing_more()


@in_a_loop
async def test_of_a_message_known_in_part_only_the_rest_is_sent(device, tape):
    await sync_to_async(store)([new(), new(), new()])
    async with watching("mote-1?after=1") as socket:
        await socket.frame()
        assert await socket.seqs(2) == [2, 3]
        await sync_to_async(store)([new(), new()])
        seq_ranges = [("mote-1", 2, 5, documents) for *_, documents in tape.messages[1]["stretches"]]
        overlapping = tape.messages[1] | {"stretches": seq_ranges}
        await get_channel_layer().group_send(device_group(device.pk), overlapping)
        assert await socket.seqs(2) == [4, 5]
        await socket.says_nothing_more()


@in_a_loop
async def test_a_hole_that_is_damaged_ends_the_sockets_of_its_device_only(device, other_device, tape):
    await measure(2)
    tape.messages.clear()
    async with watching("mote-1") as own, watching("") as fleet:
        await own.frame()
        assert [(await fleet.frame())["type"] for _ in range(2)] == ["subscribed", "positions"]
        await measure(3)
        await measure(2, "mote-2")
        await sync_to_async(seal)("mote-1", [[1, 2]], until=4)
        await sync_to_async(damage_segment)("mote-1", 3)
        for number in (2, 4):
            await get_channel_layer().group_send(FLEET_GROUP, tape.messages[number])

        frame = await own.frame()
        assert (frame["type"], frame["code"]) == ("error", "log_damaged")
        assert "3 to 4 of mote-1" in frame["detail"]
        assert await own.close_code() == 1011
        told = [await fleet.frame() for _ in range(3)]
    assert {"type": "deleted", "device_id": "mote-1", "first_seq": 3, "last_seq": 4} in told
    read = {frame["device_id"]: [one["seq"] for one in frame["readings"]] for frame in told if "readings" in frame}
    assert read == {"mote-1": [5], "mote-2": [1, 2]}


@in_a_loop
async def test_readings_before_the_damaged_ones_of_a_hole_are_sent(device, tape):
    await measure(2)
    tape.messages.clear()
    async with watching("mote-1") as own, watching("") as fleet:
        await own.frame()
        assert [(await fleet.frame())["type"] for _ in range(2)] == ["subscribed", "positions"]
        await measure(7)
        # The 5th was deleted by retention.
        await sync_to_async(seal)("mote-1", [[1, 2, 3, 4], [6], [7, 8]], until=8)
        await sync_to_async(Segment.objects.filter(first_seq=5).delete)()
        await sync_to_async(damage_segment)("mote-1", 7)
        await get_channel_layer().group_send(FLEET_GROUP, tape.messages[6])

        told = [await fleet.frame() for _ in range(5)]
        assert await own.seqs(2) == [3, 4]
    read = [[one["seq"] for one in frame["readings"]] for frame in told if "readings" in frame]
    assert read == [[3, 4], [6], [9]]
    deleted = [(frame["first_seq"], frame["last_seq"]) for frame in told if frame["type"] == "deleted"]
    assert deleted == [(5, 5), (7, 8)]

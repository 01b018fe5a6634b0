"""What the regular check finds without an announcement: lost messages, silent devices, revoked credentials."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from devices.keys import hash_key
from devices.models import Device, DeviceState
from devices.tests.fixtures import staff_client
from readings.models import Reading
from readings.tests.logs import new, store
from realtime.models import Ticket
from realtime.protocol import frames
from realtime.stream import checker
from realtime.tests.sockets import OWN, Socket, in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick_checks(monkeypatch):
    monkeypatch.setattr(checker, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(checker, "SOON_SECONDS", 0.05)
    monkeypatch.setattr(checker, "GRACE_SECONDS", 0.05)


class Silent:
    """A channel layer that loses every message."""

    async def group_send(self, group: str, message: object) -> None:
        pass


@pytest.fixture
def nothing_announced(monkeypatch):
    monkeypatch.setattr("realtime.announcing.receivers.get_channel_layer", Silent)


@in_a_loop
async def test_a_lost_last_message_is_noticed(device, nothing_announced):
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(3)
        assert await socket.seqs(3) == [1, 2, 3]


@in_a_loop
async def test_the_fleet_misses_nothing_either_also_of_a_new_device(device, nothing_announced):
    async with watching("") as socket:
        await socket.frame()
        await socket.frame()
        await sync_to_async(Device.objects.register)(device_id="mote-3")
        await measure(2, "mote-3")
        frame = await frame_of(socket, "readings")
        assert (frame["device_id"], [reading["seq"] for reading in frame["readings"]]) == ("mote-3", [1, 2])


async def frame_of(socket: Socket, kind: str) -> dict[str, Any]:
    """The next frame of this type."""
    while (frame := await socket.frame(status=True))["type"] != kind:
        pass
    return dict(frame)


@sync_to_async
def heard(seconds_ago: float) -> datetime:
    seen = timezone.now() - timedelta(seconds=seconds_ago)
    DeviceState.objects.update(last_seen_at=seen)
    return seen


@in_a_loop
async def test_a_device_that_falls_silent_is_late_then_offline_each_said_once(device):
    await Device.objects.aupdate(report_interval=10)
    await heard(seconds_ago=0)
    async with watching("mote-1") as socket, watching("") as fleet:
        assert (await socket.frame())["status"] == "online"
        assert (await frame_of(fleet, "positions"))["devices"][0]["status"] == "online"
        for silence, status in ((25, "late"), (60, "offline")):
            seen = frames.moment(await heard(seconds_ago=silence))
            said = {"type": "status", "device_id": "mote-1", "status": status, "last_seen_at": seen}
            assert await socket.frame(status=True) == said
            assert await frame_of(fleet, "status") == said
            await asyncio.sleep(0.5)
            await socket.send_to(text_data='{"type":"ping"}')
            assert await socket.frame(status=True) == {"type": "pong"}


@in_a_loop
async def test_a_report_of_old_readings_is_a_sign_of_life(device):
    await measure(1)
    async with watching("mote-1") as socket:
        assert (await socket.frame())["status"] == "offline"
        now = timezone.now()
        await sync_to_async(store)([new(timestamp=now - timedelta(days=3))], received_at=now)
        assert (await socket.frame())["type"] == "readings"
        said = {"type": "status", "device_id": "mote-1", "status": "online", "last_seen_at": frames.moment(now)}
        assert await socket.frame(status=True) == said


@in_a_loop
async def test_a_reading_that_is_sent_again_says_that_the_device_was_heard_from(device, other_device):
    now = timezone.now()
    again = new(id=uuid4())
    await sync_to_async(store)([again, new("mote-2")], received_at=now - timedelta(seconds=40))
    async with watching("mote-1") as socket, watching("") as fleet:
        assert (await socket.frame())["last_seen_at"] == frames.moment(now - timedelta(seconds=40))
        await frame_of(fleet, "positions")
        await sync_to_async(store)([again], received_at=now)
        said = {"type": "status", "device_id": "mote-1", "status": "online", "last_seen_at": frames.moment(now)}
        assert await socket.frame(status=True) == said
        assert await frame_of(fleet, "status") == said


@in_a_loop
async def test_readings_that_a_check_found_are_followed_by_their_receipt(device, nothing_announced):
    async with watching("mote-1") as socket:
        await socket.frame()
        now = timezone.now()
        await sync_to_async(store)([new(timestamp=now - timedelta(hours=2))], received_at=now)
        assert (await frame_of(socket, "status"))["last_seen_at"] == frames.moment(now)


@in_a_loop
async def test_live_readings_are_not_followed_by_a_status_that_repeats_their_receipt(device):
    await heard(seconds_ago=0)
    async with watching("mote-1") as socket:
        await socket.frame()
        await sync_to_async(store)([new()], received_at=timezone.now())
        assert (await socket.frame(status=True))["type"] == "readings"
        await asyncio.sleep(0.5)
        await socket.send_to(text_data='{"type":"ping"}')
        assert await socket.frame(status=True) == {"type": "pong"}


@in_a_loop
async def test_a_subscriber_after_the_change_is_told_the_new_status(device):
    await heard(seconds_ago=0)
    async with watching("mote-1") as one:
        assert (await one.frame())["status"] == "online"
        await heard(seconds_ago=100_000)
        assert (await one.frame(status=True))["status"] == "offline"
        async with watching("mote-1") as another:
            assert (await another.frame())["status"] == "offline"
            await another.says_nothing_more()


async def is_revoked(socket: Socket) -> None:
    frame = await frame_of(socket, "error")
    assert frame["code"] == "revoked"
    assert await socket.close_code() == 4401


@in_a_loop
async def test_the_socket_of_a_rotated_key_closes_and_that_of_the_new_key_stays(mote):
    device, key = mote
    async with watching("mote-1", x_api_key=key) as socket:
        await socket.frame()
        new_key = await sync_to_async(device.rotate_key)(overlap=timedelta(0), now=timezone.now())
        async with watching("mote-1", x_api_key=new_key) as another:
            await another.frame()
            await is_revoked(socket)
            await another.says_nothing_more()


@in_a_loop
async def test_the_socket_of_a_deactivated_device_closes_and_the_administrators_stays(mote):
    async with watching("mote-1", x_api_key=mote[1]) as socket, watching("mote-1") as administrator:
        await socket.frame()
        await administrator.frame()
        await Device.objects.aupdate(is_active=False)
        await is_revoked(socket)
        await administrator.says_nothing_more()


async def deactivate() -> None:
    await User.objects.filter(username="viewer").aupdate(is_active=False)


@sync_to_async
def take_permission() -> None:
    User.objects.get(username="viewer").user_permissions.clear()


@sync_to_async
def change_password() -> None:
    user = User.objects.get(username="viewer")
    user.set_password("something else entirely")
    user.save()


@pytest.mark.parametrize("address", ["mote-1", ""], ids=["device", "fleet"])
@pytest.mark.parametrize("end", [deactivate, take_permission, change_password], ids=lambda end: end.__name__)
@in_a_loop
async def test_the_socket_of_an_account_that_may_no_longer_watch_closes(device, end, address):
    client = await sync_to_async(staff_client)("viewer", "readings.view_reading")
    async with watching(address, cookie=f"sessionid={client.cookies['sessionid'].value}", **OWN) as socket:
        assert (await socket.frame())["type"] == "subscribed"
        await end()
        await is_revoked(socket)


@in_a_loop
async def test_a_session_that_is_signed_out_ends_its_sockets(device):
    client = await sync_to_async(staff_client)("viewer", "readings.view_reading")
    cookie = f"sessionid={client.cookies['sessionid'].value}"
    async with watching("mote-1", cookie=cookie, **OWN) as socket:
        await socket.frame()
        await sync_to_async(client.logout)()
        await is_revoked(socket)


@in_a_loop
async def test_a_socket_that_a_ticket_opened_ends_with_its_issuer(mote):
    device, key = mote
    issue = sync_to_async(Ticket.objects.issue)
    token, _ = await issue(device=device, key_hash=hash_key(key), now=timezone.now())
    late, _ = await issue(device=device, key_hash=hash_key(key), now=timezone.now())
    async with watching(f"mote-1?ticket={token}", **OWN) as socket:
        await socket.frame()
        await sync_to_async(device.rotate_key)(overlap=timedelta(0), now=timezone.now())
        await is_revoked(socket)
    async with watching(f"mote-1?ticket={late}", **OWN) as socket:
        assert (await socket.frame())["code"] == "invalid_ticket"


@in_a_loop
async def test_readings_that_were_deleted_are_said_to_be_and_are_no_hole(device):
    await measure(6)
    await sync_to_async(Reading.objects.filter(seq__in=[1, 2, 4, 5, 6])._raw_delete)("default")
    async with watching("mote-1?after=0") as socket:
        assert (await socket.frame())["last_seq"] == 6
        said = [await socket.frame() for _ in range(3)]
        assert [(frame["type"], frame.get("first_seq"), frame.get("last_seq")) for frame in said] == [
            ("deleted", 1, 2),
            ("readings", None, None),
            ("deleted", 4, 6),
        ]
        await measure(1)
        assert await socket.seqs(1) == [7]


@in_a_loop
async def test_who_follows_a_log_that_was_replaced_is_told_to_begin_again(device):
    await measure(3)
    async with watching("mote-1") as socket:
        await socket.frame()
        await DeviceState.objects.aupdate(last_seq=1)
        assert (await socket.frame())["code"] == "log_replaced"
        assert await socket.close_code() == 1013


@in_a_loop
async def test_a_check_that_fails_in_an_unexpected_way_is_not_the_last_one(device, nothing_announced, monkeypatch):
    failures = iter([True])
    is_over = checker.Checker.is_over

    async def fail_once(checker):
        if next(failures, False):
            raise LookupError("a fault of ours")
        return await is_over(checker)

    monkeypatch.setattr(checker.Checker, "is_over", fail_once)
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(2)
        assert await socket.seqs(2) == [1, 2]

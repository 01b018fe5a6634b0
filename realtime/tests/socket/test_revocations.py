"""A socket whose credential is revoked is closed within a second and gets nothing committed after the revocation."""

import asyncio
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.db import OperationalError
from django.utils import timezone

from devices.keys import hash_key
from devices.models import Device
from devices.tests.fixtures import staff_client
from readings.models import Reading
from realtime import consumers
from realtime.access.admission import admit
from realtime.models import Ticket
from realtime.stream import checker, feed, revocations
from realtime.stream.hub import current_hub
from realtime.tests.socket.test_socket_economy import held_up
from realtime.tests.sockets import OWN, Socket, in_a_loop, measure, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unlooked(monkeypatch):
    """Disables the regular check, so that only a commit can show a revocation."""
    monkeypatch.setattr(revocations, "LOOK_SECONDS", 60)
    monkeypatch.setattr(checker, "SOON_SECONDS", 60)


async def first_look() -> None:
    """Checks all sockets, after a check that is under way: that one could still see what the test changes next."""
    own = current_hub().revocations
    async with own.checking:
        await own.look()


def session() -> str:
    client = staff_client("viewer")
    group = Group.objects.create(name="watchers")
    group.permissions.add(Permission.objects.get(codename="view_reading"))
    User.objects.get(username="viewer").groups.add(group)
    return f"sessionid={client.cookies['sessionid'].value}"


def ticket(**issuer: Any) -> str:
    token, _ = Ticket.objects.issue(device=None, now=timezone.now(), **issuer)
    return f"?ticket={token}"


def credentials(kind: str, key: str) -> tuple[str, dict[str, str]]:
    """The query string to add to a socket's address, and its headers."""
    if kind == "key":
        return "", {"x_api_key": key}
    cookie = session()
    if kind == "session":
        return "", {"cookie": cookie, **OWN}
    if kind == "ticket of a device":
        return ticket(key_hash=hash_key(key)), OWN
    return ticket(user=User.objects.get(username="viewer")), OWN


def change_password() -> None:
    user = User.objects.get(username="viewer")
    user.set_password("something else")
    user.save()


def take_from_group() -> None:
    Group.objects.get(name="watchers").permissions.clear()


def take_role() -> None:
    """Membership of a group and "Staff status" each are a role."""
    user = User.objects.get(username="viewer")
    user.is_staff = False
    user.save()
    user.groups.clear()


REVOCATIONS = {
    "rotated": ("key", lambda device: device.rotate_key(overlap=timedelta(0), now=timezone.now())),
    "signed out": ("session", lambda device: User.objects.get(username="viewer").delete()),
    "group left": ("session", lambda device: User.objects.get(username="viewer").groups.clear()),
    "group's permission": ("session", lambda device: take_from_group()),
    "account": ("session", lambda device: User.objects.filter(username="viewer").update(is_active=False)),
    "password": ("session", lambda device: change_password()),
    "issuing key": ("ticket of a device", lambda device: device.rotate_key(overlap=timedelta(0), now=timezone.now())),
    "issuing account": ("ticket of an account", lambda device: take_role()),
}
# After this one, nothing is stored for this device.
DEACTIVATED = {"deactivated": ("key", lambda device: Device.objects.update(is_active=False))}
BY_KIND = pytest.mark.parametrize(("kind", "revoke"), REVOCATIONS.values(), ids=REVOCATIONS)


async def is_revoked(socket: Socket) -> None:
    """Asserts that the next frame, other than status frames, which carry no readings, is the revocation."""
    frame = await socket.frame()
    assert (frame["type"], frame["code"]) == ("error", "revoked"), frame
    assert await socket.close_code() == 4401


@BY_KIND
@in_a_loop
async def test_no_frame_follows_of_what_is_committed_after_it(mote, other_device, unlooked, kind, revoke):
    device, key = mote
    address, headers = await sync_to_async(credentials)(kind, key)
    async with watching(f"mote-1{address}", **headers) as socket, watching("mote-1") as witness:
        assert (await socket.frame())["type"] == (await witness.frame())["type"] == "subscribed"
        await measure(1)
        assert await socket.seqs(1) == await witness.seqs(1) == [1]
        await sync_to_async(revoke)(device)
        await measure(2)
        assert await witness.seqs(2) == [2, 3]
        await is_revoked(socket)


@in_a_loop
async def test_nor_does_one_of_another_device(mote, other_device, unlooked):
    """Watches the fleet while a device that the revocation does not concern commits."""
    cookie = await sync_to_async(session)()
    async with watching("", cookie=cookie, **OWN) as socket:
        assert [(await socket.frame())["type"] for _ in range(2)] == ["subscribed", "positions"]
        await sync_to_async(take_from_group)()
        await measure(1, "mote-2")
        await is_revoked(socket)


@pytest.mark.parametrize(("kind", "revoke"), (REVOCATIONS | DEACTIVATED).values(), ids=REVOCATIONS | DEACTIVATED)
@in_a_loop
async def test_it_is_closed_within_a_second_where_nothing_is_committed(mote, kind, revoke):
    device, key = mote
    address, headers = await sync_to_async(credentials)(kind, key)
    async with watching(f"mote-1{address}", **headers) as socket:
        await socket.frame()
        await sync_to_async(revoke)(device)
        revoked_at = time.monotonic()
        await is_revoked(socket)
        assert time.monotonic() - revoked_at < 1


@in_a_loop
async def test_a_key_ends_with_its_overlap_and_a_session_with_its_age(mote):
    device, key = mote
    cookie, age = await sync_to_async(session)(), timedelta(seconds=0.8)
    async with watching("mote-1", x_api_key=key) as one, watching("mote-1", cookie=cookie, **OWN) as other:
        await one.frame()
        await other.frame()
        ends_at = time.monotonic() + age.total_seconds()
        await sync_to_async(device.rotate_key)(overlap=age, now=timezone.now())
        await Session.objects.aupdate(expire_date=timezone.now() + age)
        await is_revoked(one)
        await is_revoked(other)
        assert 0 <= time.monotonic() - ends_at < 1


@in_a_loop
async def test_a_replay_stops_at_it(mote, unlooked, monkeypatch):
    """Readings from the database are held back until the check, too."""
    device, key = mote
    await measure(3)
    may_read = held_up(monkeypatch)
    async with watching("mote-1?after=0", x_api_key=key) as socket:
        await socket.frame()
        await sync_to_async(device.rotate_key)(overlap=timedelta(0), now=timezone.now())
        await measure(1)
        may_read.set()
        await is_revoked(socket)


@in_a_loop
async def test_what_was_not_announced_is_held_to_it_and_so_is_a_status(mote, monkeypatch):
    class Silent:
        async def group_send(self, group: str, message: object) -> None:
            pass

    device, key = mote
    monkeypatch.setattr("realtime.announcing.receivers.get_channel_layer", Silent)
    monkeypatch.setattr(revocations, "LOOK_SECONDS", 60)
    monkeypatch.setattr(checker, "CHECK_SECONDS", 0.1)
    monkeypatch.setattr(checker, "SOON_SECONDS", 0.05)
    monkeypatch.setattr(checker, "GRACE_SECONDS", 0.05)
    async with watching("mote-1", x_api_key=key) as socket:
        assert (await socket.frame())["status"] == "never"
        await sync_to_async(device.rotate_key)(overlap=timedelta(0), now=timezone.now())
        await measure(1)
        assert (await socket.frame(status=True))["code"] == "revoked"


@in_a_loop
async def test_who_was_let_in_before_it_is_not_counted_as_checked_after_it(mote, unlooked, monkeypatch):
    """Other sockets may have been checked between this one's admission and its subscription."""
    device, key = mote
    admitted, may_enter = threading.Event(), threading.Event()

    def slowly(handshake: Any, *args: Any, **kwargs: Any) -> Any:
        admission = admit(handshake, *args, **kwargs)
        if handshake.api_key == key:
            admitted.set()
            may_enter.wait(5)
        return admission

    monkeypatch.setattr(consumers, "admit", slowly)
    async with watching("mote-1") as witness, watching("mote-1", x_api_key=key) as socket:
        await witness.frame()
        assert await asyncio.to_thread(admitted.wait, 5)
        await sync_to_async(device.rotate_key)(overlap=timedelta(0), now=timezone.now())
        await measure(1)
        assert await witness.seqs(1) == [1]
        may_enter.set()
        await measure(1)
        assert await witness.seqs(1) == [2]
        while (frame := await socket.frame())["type"] == "subscribed":
            pass
        assert frame["code"] == "revoked"


@contextmanager
def away(monkeypatch):
    """The database does not answer queries about credentials."""

    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError("away")

    with monkeypatch.context() as patched:
        patched.setattr(revocations, "standing", fail)
        yield


@in_a_loop
async def test_where_credentials_cannot_be_checked_frames_wait(mote, other_device, unlooked, monkeypatch, caplog):
    monkeypatch.setattr(feed, "RETRY_SECONDS", 0.05)
    async with watching("mote-1") as socket:
        await socket.frame()
        await first_look()
        with away(monkeypatch):
            await sync_to_async(other_device[0].rotate_key)(overlap=timedelta(0), now=timezone.now())
            await measure(3)
            await asyncio.sleep(0.2)
            await socket.says_nothing_more()
        assert await socket.seqs(3) == [1, 2, 3]
        await socket.says_nothing_more()
    assert "wait for the database (away)" in caplog.text


@in_a_loop
async def test_what_waits_for_that_is_bounded_and_read_from_the_log(
    mote, other_device, unlooked, reads, monkeypatch, caplog
):
    monkeypatch.setattr(feed, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(feed, "HELD_MAX", 500)
    async with watching("mote-1") as socket, watching("") as fleet:
        await socket.frame()
        await fleet.frame()
        await fleet.frame()
        await first_look()
        with away(monkeypatch):
            await sync_to_async(Device.objects.filter(device_id="mote-2").update)(is_active=False)
            await measure(20)
            await asyncio.sleep(0.2)
            (log,) = [log for log in current_hub().feed.logs.values() if log.device_id == "mote-1"]
            assert sum(len(seq_range.documents) for seq_range in log.taken) <= 1000
            await socket.says_nothing_more()
        assert await socket.seqs(20) == await fleet.seqs(20) == list(range(1, 21))
    assert reads


@in_a_loop
async def test_a_live_frame_asks_for_nothing_while_nothing_is_changed(mote, unlooked, monkeypatch):
    async with watching("mote-1") as socket:
        await socket.frame()
        await measure(1)
        assert await socket.seqs(1) == [1]
        with away(monkeypatch):
            await measure(3)
            assert await socket.seqs(3) == [2, 3, 4]


@in_a_loop
async def test_a_restored_backup_with_an_older_version_stops_nothing(mote, unlooked):
    hub = current_hub()
    async with watching("mote-1") as socket:
        await socket.frame()
        hub.feed.heard = 10**6
        await measure(2)
        assert await socket.seqs(2) == [1, 2]
        assert await sync_to_async(Reading.objects.count)() == 2

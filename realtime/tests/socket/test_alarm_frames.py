"""Alarms on the live sockets: the open ones first, then each change; who gets them; and what heals a lost message."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, staff_client
from readings.alarms.acknowledging import acknowledge
from readings.alarms.models import Alarm
from readings.alarms.rules.changing import delete_rule
from readings.alarms.tests.rules import alarm_of, evaluate, make_rule
from readings.tests.logs import at, new, store
from realtime.protocol import frames
from realtime.stream import alarm_boards, checker
from realtime.tests.sockets import OWN, fate, in_a_loop, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def quick_checks(monkeypatch):
    monkeypatch.setattr(checker, "CHECK_SECONDS", 0.2)
    monkeypatch.setattr(checker, "SOON_SECONDS", 0.1)
    monkeypatch.setattr(alarm_boards, "GRACE_SECONDS", 0.05)


@sync_to_async
def stored_and_judged(*temperatures, device_id="mote-1"):
    store([new(device_id, timestamp=timezone.now(), temperature=value) for value in temperatures])
    evaluate(timezone.now())


@sync_to_async
def rule(**given):
    return make_rule(metric="temperature", above=30, now=timezone.now(), **given)


def ids(frame):
    assert frame["type"] == "alarms", frame
    return [alarm["id"] for alarm in frame["alarms"]]


@in_a_loop
async def test_the_open_alarms_come_first_and_then_each_change(device):
    await rule(severity="critical")
    async with watching("mote-1?after=0") as socket:
        assert (await socket.frame(alarms=True))["type"] == "subscribed"
        assert await socket.frame(alarms=True) == {"type": "alarms", "open": 0, "alarms": []}

        await stored_and_judged(31.5)
        opened = await socket.alarms()
        assert (opened["event"], opened["open"], opened["alarm"]["value"]) == ("opened", 1, 31.5)
        assert (opened["alarm"]["device_name"], opened["alarm"]["rule"]["severity"]) == ("North window", "critical")

        await sync_to_async(acknowledge)(opened["alarm"]["id"], by="ada", comment="On my way", now=timezone.now())
        acknowledged = await socket.alarms()
        assert (acknowledged["event"], acknowledged["open"]) == ("acknowledged", 1)
        assert (acknowledged["alarm"]["acknowledged_by"], acknowledged["alarm"]["comment"]) == ("ada", "On my way")
        async with watching("mote-1") as later:
            assert ids(await later.alarms()) == [opened["alarm"]["id"]]

        await stored_and_judged(20.0)
        resolved = await socket.alarms()
        assert (resolved["event"], resolved["open"], resolved["alarm"]["state"]) == ("resolved", 0, "resolved")
        async with watching("mote-1") as later:
            assert (await later.alarms())["open"] == 0


@in_a_loop
async def test_each_socket_gets_the_alarms_of_what_it_watches(mote, other_device):
    await rule()
    key = {"x_api_key": mote[1]}
    async with watching("") as fleet, watching("?only=alarms") as alarms, watching("mote-1", **key) as own:
        for socket in (fleet, alarms, own):
            assert (await socket.alarms())["open"] == 0
        await stored_and_judged(31, device_id="mote-2")
        await stored_and_judged(32)

        for socket in (fleet, alarms):
            assert [(await socket.alarms())["alarm"]["device_id"] for _ in range(2)] == ["mote-2", "mote-1"]
        told = await own.alarms()
        assert (told["alarm"]["device_id"], told["open"]) == ("mote-1", 1)


@in_a_loop
async def test_a_socket_for_alarms_gets_no_readings(device):
    async with watching("?only=alarms") as socket:
        assert (await socket.frame(alarms=True))["type"] == "subscribed"
        assert (await socket.frame(alarms=True))["type"] == "alarms"
        await sync_to_async(store)([new()])
        await socket.says_nothing_more()


def session_of(*permissions):
    client = staff_client("staff", *permissions)
    return {**OWN, "cookie": f"sessionid={client.cookies['sessionid'].value}"}


@in_a_loop
async def test_who_may_not_see_alarms_gets_none(device):
    await rule()
    watcher = await sync_to_async(session_of)("readings.view_reading")
    async with watching("mote-1", **watcher) as one, watching("", **watcher) as fleet:
        first = [(await socket.frame(alarms=True))["type"] for socket in (one, fleet, fleet)]
        assert first == ["subscribed", "subscribed", "positions"]
        await stored_and_judged(31)
        for socket in (one, fleet):
            assert (await socket.frame(alarms=True))["type"] == "readings"
            await socket.send_to(text_data='{"type":"ping"}')
            assert (await socket.frame(alarms=True))["type"] == "pong"
    assert await fate("?only=alarms", **watcher) == "4403 permission_denied"
    assert await fate("?only=readings", x_api_key=ADMIN_KEY) == "4400 invalid_only"


@in_a_loop
async def test_who_sees_alarms_but_no_readings_may_watch_alarms_alone(device):
    viewer = await sync_to_async(session_of)("alarms.view_alarm")
    assert await fate("?only=alarms", **viewer) == "subscribed"
    assert await fate("", **viewer) == "4403 permission_denied"


@in_a_loop
async def test_the_permission_ends_the_frames_at_once_when_it_ends(device):
    await rule()
    both = await sync_to_async(session_of)("alarms.view_alarm", "readings.view_reading")
    async with watching("mote-1", **both) as one, watching("?only=alarms", **both) as alarms:
        for socket in (one, alarms):
            await socket.alarms()
        await sync_to_async(lose_alarms)()
        await stored_and_judged(31)
        assert (await one.frame(alarms=True))["type"] == "readings"
        await one.says_nothing_more()
        while (message := await alarms.receive_output(timeout=5))["type"] != "websocket.close":
            assert '"code":"revoked"' in message["text"]
        assert message["code"] == 4401


def lose_alarms():
    User.objects.get(username="staff").user_permissions.remove(Permission.objects.get(codename="view_alarm"))


@in_a_loop
async def test_a_device_key_may_not_watch_the_alarms_of_all(mote):
    assert await fate("?only=alarms", x_api_key=mote[1]) == "4403 permission_denied"


@in_a_loop
async def test_what_was_not_announced_comes_with_the_next_comparison(device, monkeypatch, quick_checks):
    await rule()
    async with watching("mote-1") as socket, watching("?only=alarms") as alarms:
        for one in (socket, alarms):
            assert (await one.alarms())["open"] == 0
        monkeypatch.setattr("realtime.announcing.alarms.in_messages", lambda *_, **__: [])
        await stored_and_judged(31)
        pk = (await sync_to_async(Alarm.objects.get)()).pk
        for one in (socket, alarms):
            assert ids(await one.alarms()) == [str(pk)]
        await sync_to_async(acknowledge)(pk, by="ada", comment="", now=timezone.now())
        assert (await socket.alarms())["alarms"][0]["acknowledged_by"] == "ada"
        await stored_and_judged(20)
        for one in (socket, alarms):
            while (frame := await one.alarms())["open"]:
                pass
            assert frame == {"type": "alarms", "open": 0, "alarms": []}


@in_a_loop
async def test_a_socket_gets_the_newest_alarms_and_the_number_of_all(device, monkeypatch):
    monkeypatch.setattr(frames, "ALARMS_PER_FRAME", 3)
    made = [
        await sync_to_async(alarm_of)("mote-1", at=at(second), rule=await rule(is_active=False)) for second in range(5)
    ]
    newest = [str(alarm.pk) for alarm in reversed(made)]
    await rule()
    async with watching("") as fleet, watching("mote-1") as one:
        for socket in (fleet, one):
            frame = await socket.alarms()
            assert (frame["open"], ids(frame)) == (5, newest[:3])
        await stored_and_judged(31)
        for socket in (fleet, one):
            assert (await socket.alarms())["open"] == 6
        await stored_and_judged(20)
        for socket in (fleet, one):
            assert (await socket.alarms())["open"] == 5


@in_a_loop
async def test_a_deleted_rule_resolves_its_alarms_on_the_sockets(device):
    made = await rule()
    async with watching("?only=alarms") as socket:
        await socket.alarms()
        await stored_and_judged(31)
        assert (await socket.alarms())["event"] == "opened"
        await sync_to_async(delete_rule)(made, now=timezone.now())
        told = await socket.alarms()
        assert (told["event"], told["alarm"]["reason"], told["open"]) == ("resolved", "rule_deleted", 0)


@in_a_loop
async def test_many_alarms_of_one_evaluation_come_one_by_one(device, monkeypatch):
    monkeypatch.setattr("realtime.announcing.alarms.CHANGES_PER_MESSAGE", 2)
    for _ in range(5):
        await rule()
    async with watching("?only=alarms") as socket:
        await socket.alarms()
        await stored_and_judged(31)
        assert [(await socket.alarms())["open"] for _ in range(5)] == [1, 2, 3, 4, 5]


@in_a_loop
async def test_the_last_socket_ends_the_comparisons(device, quick_checks):
    async with watching("?only=alarms") as socket:
        await socket.alarms()
        hub = alarm_boards_of_this_loop()
        assert hub.boards
    await asyncio.sleep(0.3)
    assert not hub.boards


def alarm_boards_of_this_loop():
    from realtime.stream.hub import current_hub

    return current_hub().alarms


@in_a_loop
async def test_without_sockets_that_see_alarms_nothing_is_read_of_them(device, monkeypatch, quick_checks):
    asked: list[object] = []
    monkeypatch.setattr(alarm_boards, "open_alarms", lambda watched: asked.append(watched))
    watcher = await sync_to_async(session_of)("readings.view_reading")
    async with watching("", **watcher) as socket:
        await socket.frame()
        await asyncio.sleep(0.5)
    assert asked == []


@in_a_loop
async def test_the_alarms_of_many_devices_cost_as_many_queries_as_those_of_one(device, django_assert_num_queries):
    from realtime.stream.open_alarms import open_alarms

    def count():
        rule = make_rule(metric="temperature", above=30)
        for n in range(20):
            Device.objects.register(device_id=f"node-{n}")
            alarm_of(f"node-{n}", rule=rule)
        with django_assert_num_queries(4):
            found = open_alarms([None, *(f"node-{n}" for n in range(20)), "mote-1"])
        assert [found.open[name].total for name in (None, "node-3", "mote-1")] == [20, 1, 0]

    await sync_to_async(count)()

"""Sockets of tokens and accounts that are limited to tags get only what concerns their devices."""

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from devices.models import AccountTag, ApiToken, Device, DeviceTag, Tag
from devices.tests.fixtures import new_token, staff_client, token_client
from readings.alarms.tests.rules import alarm_of
from readings.tests.logs import new, store
from realtime.stream import checker, revocations
from realtime.tests.sockets import OWN, fate, in_a_loop, watching

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def unlooked(monkeypatch):
    """Disables the regular checks, so that only a commit can show a change."""
    monkeypatch.setattr(revocations, "LOOK_SECONDS", 60)
    monkeypatch.setattr(checker, "SOON_SECONDS", 60)


@pytest.fixture
def fleet_of_two(db):
    for device_id in ("own", "other"):
        device, _ = Device.objects.register(device_id=device_id)
        tag = Tag.objects.create(name=f"{device_id}-tag", key=f"{device_id}-tag", colour="grey")
        DeviceTag.objects.create(device=device, tag=tag)


def by_token():
    """The headers of the handshake, and the query string of the address."""
    return {"x_api_key": new_token("read", tags=["own-tag"])}, ""


def by_session():
    client = staff_client("viewer", "readings.view_reading", "alarms.view_alarm")
    AccountTag.objects.create(user=User.objects.get(username="viewer"), tag=Tag.objects.get(key="own-tag"))
    return {"cookie": f"sessionid={client.cookies['sessionid'].value}", **OWN}, ""


def by_ticket():
    client = token_client("read", tags=["own-tag"])
    return OWN, f"?ticket={client.post('/api/v1/realtime/tickets', {}).json()['ticket']}"


@sync_to_async
def stored(*device_ids):
    store([new(device_id, timestamp=timezone.now()) for device_id in device_ids])


@pytest.mark.parametrize("credential", [by_token, by_session, by_ticket])
@in_a_loop
async def test_the_fleet_socket_has_positions_readings_and_alarms_of_its_devices(fleet_of_two, credential, unlooked):
    await sync_to_async(lambda: (alarm_of("other"), alarm_of("own")))()
    await stored("other", "own")
    headers, address = await sync_to_async(credential)()
    async with watching(address, **headers) as socket:
        assert (await socket.frame(alarms=True))["type"] == "subscribed"
        alarms = await socket.frame(alarms=True)
        assert ([alarm["device_id"] for alarm in alarms["alarms"]], alarms["open"]) == (["own"], 1)
        positions = await socket.frame()
        assert [end["device_id"] for end in positions["devices"]] == ["own"]
        await stored("other", "own", "other")
        readings = await socket.frame()
        assert (readings["device_id"], len(readings["readings"])) == ("own", 1)
        await socket.says_nothing_more()


@pytest.mark.parametrize("credential", [by_token, by_session])
@in_a_loop
async def test_the_socket_of_another_device_is_refused(fleet_of_two, credential):
    headers, _ = await sync_to_async(credential)()
    assert (await fate("other", **headers)).startswith("4404")
    assert await fate("own", **headers) == "subscribed"


@in_a_loop
async def test_a_revoked_token_closes_its_socket_before_what_is_committed_next(fleet_of_two, unlooked):
    async with watching("own", **(await sync_to_async(by_token)())[0]) as socket:
        await socket.frame()
        await sync_to_async(ApiToken.objects.all().delete)()
        await stored("own")
        assert (await socket.frame())["code"] == "revoked"
        assert await socket.close_code() == 4401


@in_a_loop
async def test_a_device_that_loses_the_tag_is_gone_from_the_sockets(fleet_of_two, unlooked):
    headers, _ = await sync_to_async(by_token)()
    async with watching("own", **headers) as device, watching("", **headers) as fleet:
        await device.frame()
        while (await fleet.frame())["type"] != "positions":
            pass
        await sync_to_async(DeviceTag.objects.filter(device_id="own").delete)()
        await stored("own")
        assert ((await device.frame())["code"], await device.close_code()) == ("revoked", 4401)
        assert ((await fleet.frame())["code"], await fleet.close_code()) == ("scope_changed", 1013)


@in_a_loop
async def test_a_device_that_gets_the_tag_makes_the_fleet_socket_connect_again(fleet_of_two, unlooked):
    async with watching("", **(await sync_to_async(by_token)())[0]) as fleet:
        while (await fleet.frame())["type"] != "positions":
            pass
        tag = await Tag.objects.aget(key="own-tag")
        await DeviceTag.objects.acreate(device_id="other", tag=tag)
        await stored("own")
        assert (await fleet.frame())["code"] == "scope_changed"


@in_a_loop
async def test_another_token_and_another_tag_leave_the_sockets_open(fleet_of_two, unlooked):
    async with watching("", **(await sync_to_async(by_token)())[0]) as fleet:
        while (await fleet.frame())["type"] != "positions":
            pass
        await sync_to_async(lambda: token_client("read", name="second"))()
        await sync_to_async(DeviceTag.objects.filter(device_id="other").delete)()
        await stored("own")
        assert await fleet.seqs(1) == [1]

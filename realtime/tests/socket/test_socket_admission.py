"""Admission: every pair of credential and origin, with the outcome for the socket."""

from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, FLEET_KEY, staff_client
from realtime.tests.sockets import ALLOWED, FOREIGN, OWN, WITHOUT, fate, in_a_loop, watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]


@pytest.fixture
def credentials(mote, other_device):
    """Handshake headers of every kind of caller, by name."""
    return {
        "nobody": {},
        "wrong key": {"x_api_key": "tlm_wrong-wrong-wrong-wrong-wrong"},
        "empty key": {"x_api_key": ""},
        "own key": {"x_api_key": mote[1]},
        "own bearer": {"authorization": f"Bearer {mote[1]}"},
        "other key": {"x_api_key": other_device[1]},
        "fleet key": {"x_api_key": FLEET_KEY},
        "admin key": {"x_api_key": ADMIN_KEY},
        "viewer": session(staff_client("viewer", "readings.view_reading")),
        "newcomer": session(staff_client("newcomer", "devices.view_device")),
        "stranger": session(client_who_is_no_staff()),
    }


def session(client: Client) -> dict[str, str]:
    return {"cookie": f"sessionid={client.cookies['sessionid'].value}"}


def client_who_is_no_staff() -> Client:
    user = User.objects.create_user("stranger")
    user.user_permissions.add(Permission.objects.get(codename="view_reading"))
    client = Client()
    client.force_login(user)
    return client


EVERYONE = {
    "nobody": "4401 not_authenticated",
    "wrong key": "4401 invalid_key",
    "empty key": "4401 invalid_key",
    "own key": "subscribed",
    "own bearer": "subscribed",
    "other key": "4404 unknown_device",
    "fleet key": "4403 permission_denied",
    "admin key": "subscribed",
    "viewer": "subscribed",
    "newcomer": "4403 permission_denied",
    "stranger": "4403 permission_denied",
}
NO_SESSION = dict.fromkeys(("viewer", "newcomer", "stranger"), "4401 not_authenticated")


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        pytest.param(OWN, EVERYONE, id="own origin"),
        pytest.param(ALLOWED, EVERYONE, id="allowed origin"),
        pytest.param(WITHOUT, EVERYONE | NO_SESSION, id="no origin: a session does not count"),
        pytest.param(FOREIGN, dict.fromkeys(EVERYONE, "403"), id="foreign origin: not even with a key"),
    ],
)
@in_a_loop
async def test_who_may_watch_from_where(credentials, origin, expected):
    assert {name: await fate("mote-1", **who, **origin) for name, who in credentials.items()} == expected


@in_a_loop
async def test_who_learns_that_a_device_does_not_exist(credentials):
    assert {name: await fate("mote-9", **who, **OWN) for name, who in credentials.items()} == EVERYONE | {
        name: "4404 unknown_device" for name, expected in EVERYONE.items() if expected == "subscribed"
    }


@in_a_loop
async def test_an_origin_that_only_looks_like_ours_is_foreign(credentials):
    for origin in ("null", "http://testserver:81", "https://testserver.evil.example.net", "", "file://"):
        assert await fate("mote-1", **credentials["viewer"], host="testserver", origin=origin) == "403"


@in_a_loop
async def test_an_origin_that_is_no_address_is_foreign(credentials):
    assert await fate("mote-1", **credentials["viewer"], host="testserver", origin="http://[") == "403"


@in_a_loop
async def test_a_name_that_a_foreign_page_points_at_us_is_foreign(credentials):
    """DNS rebinding: Origin and Host agree, but the host is not in ALLOWED_HOSTS."""
    rebound = {"host": "evil.example.net", "origin": "http://evil.example.net"}
    assert await fate("mote-1", **credentials["viewer"], **rebound) == "403"


@in_a_loop
async def test_behind_a_tls_proxy_the_own_origin_is_https(credentials):
    headers = {"host": "testserver", "origin": "https://testserver"}
    assert await fate("mote-1", **credentials["viewer"], **headers) == "subscribed"


@in_a_loop
async def test_a_wrong_key_counts_even_beside_a_valid_session(credentials):
    both = credentials["viewer"] | credentials["wrong key"]
    assert await fate("mote-1", **both, **OWN) == "4401 invalid_key"


@in_a_loop
async def test_the_key_of_an_inactive_device_is_refused(device, credentials):
    await Device.objects.filter(pk=device.pk).aupdate(is_active=False)
    assert await fate("mote-1", **credentials["own key"]) == "4401 invalid_key"
    assert await fate("mote-1", **credentials["admin key"]) == "subscribed"


@in_a_loop
async def test_a_retiring_key_works_until_its_overlap_ends(device, credentials):
    rotate = sync_to_async(device.rotate_key)
    await rotate(overlap=timedelta(hours=1), now=timezone.now())
    assert await fate("mote-1", **credentials["own key"]) == "subscribed"
    await Device.objects.aupdate(retiring_key_expires_at=timezone.now())
    assert await fate("mote-1", **credentials["own key"]) == "4401 invalid_key"


@in_a_loop
async def test_a_session_that_was_ended_is_nobody(credentials):
    await User.objects.filter(username="viewer").aupdate(is_active=False)
    assert await fate("mote-1", **credentials["viewer"], **OWN) == "4401 not_authenticated"
    assert await fate("mote-1", cookie="sessionid=nonsense", **OWN) == "4401 not_authenticated"


@in_a_loop
async def test_a_session_cookie_with_a_nul_in_it_is_nobody(device):
    """A quoted cookie can contain any byte, but PostgreSQL rejects NUL in a text."""
    assert await fate("mote-1", cookie=r'sessionid="abcdefgh\000"', **OWN) == "4401 not_authenticated"


@in_a_loop
async def test_an_address_that_is_none_is_said_to_be_none(device):
    for address in ("nothing/here", "-mote", "mote 1", "m" * 65, "mote-1/more"):
        assert await fate(address, x_api_key=ADMIN_KEY) == "4404 not_found"


@in_a_loop
async def test_a_slash_at_the_end_is_no_other_address(device):
    async with watching("mote-1/?after=0") as socket:
        assert (await socket.frame())["type"] == "subscribed"

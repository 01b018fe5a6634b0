"""The socket of a link: open as long as the link is valid, without any reading."""

import time

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from devices.models import AccessVersion
from devices.tests.fixtures import client_with
from realtime.models import Share, View
from realtime.routing import websocket_application
from realtime.tests.sharing.links import link
from realtime.tests.sockets import FOREIGN, OWN, Socket, fate, in_a_loop, measure

pytestmark = pytest.mark.django_db(transaction=True)


class ShareSocket(Socket):
    def __init__(self, token: str, **headers: str) -> None:
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        WebsocketCommunicator.__init__(self, websocket_application, f"/api/v1/realtime/share/{token}", headers=pairs)


async def opened(token: str) -> ShareSocket:
    socket = ShareSocket(token, **OWN)
    assert (await socket.connect())[0]
    assert (await socket.frame())["type"] == "shared"
    return socket


@in_a_loop
async def test_it_has_no_readings(device):
    socket = await opened(await sync_to_async(link)())
    await measure(2)
    await socket.says_nothing_more()
    await socket.disconnect()


@pytest.mark.parametrize(
    "end",
    [
        lambda: Share.objects.all().delete(),
        lambda: View.objects.all().delete(),
        lambda: Share.objects.update(expires_at=timezone.now()),
    ],
    ids=["withdrawn", "view deleted", "shortened"],
)
@in_a_loop
async def test_it_is_closed_within_a_second_when_the_link_ends(device, end):
    socket = await opened(await sync_to_async(link)())
    began = time.monotonic()
    await sync_to_async(end)()
    assert (await socket.frame())["code"] == "revoked"
    assert await socket.close_code() == 4401
    assert time.monotonic() - began < 1


@in_a_loop
async def test_it_is_closed_when_the_link_expires(device):
    socket = await opened(await sync_to_async(link)(seconds=0.4))
    began = time.monotonic()
    assert (await socket.frame())["code"] == "revoked"
    assert time.monotonic() - began < 1.4


@in_a_loop
async def test_an_ended_or_unknown_link_has_no_socket(device):
    for token in (await sync_to_async(link)(seconds=-1), "x" * 32):
        socket = ShareSocket(token, **OWN)
        assert (await socket.connect())[0]
        assert (await socket.frame())["code"] == "link_ended"
        assert await socket.close_code() == 4404


@in_a_loop
async def test_a_page_of_another_origin_cannot_open_it(device):
    assert not (await ShareSocket(await sync_to_async(link)(), **FOREIGN).connect())[0]


@pytest.mark.parametrize("address", ["mote-1", ""])
@in_a_loop
async def test_its_token_opens_no_other_socket(device, address):
    token = await sync_to_async(link)()
    assert (await fate(f"{address}?ticket={token}", **OWN)).startswith("4401")
    assert (await fate(address, x_api_key=token)).startswith("4401")


def test_every_end_of_a_link_is_counted(device):
    before = AccessVersion.objects.current()
    token = link()
    assert AccessVersion.objects.current() == before
    for change in (
        lambda: Share.objects.update(expires_at=timezone.now()),
        lambda: Share.objects.update(token_hash="other"),
        lambda: Share.objects.all().delete(),
    ):
        change()
        assert AccessVersion.objects.current() > before
        before = AccessVersion.objects.current()
    assert client_with(token).get("/api/v1/devices").status_code == 401

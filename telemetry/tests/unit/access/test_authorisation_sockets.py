"""Authorisation of sockets: every address with every kind of caller and origin."""

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from devices.models import Device
from realtime.models import Ticket
from realtime.tests.sockets import FOREIGN, OWN, WITHOUT, fate, in_a_loop
from telemetry.tests.support.clients.callers import World
from telemetry.tests.support.routes import sockets

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

# Cells: `ok` means subscribed, 4xxx is the close code, 403 the answer to the handshake.
# Rows: an address, and the origin of the page that opens the socket (none: a program).
MATRIX = """
address         origin  no-  bad  own  oth- ret- ret- in-  fle- ad-  sta- mem- wi-  ro-  vi-  clo- tic- used oth-
                        one  key  key  er   ir-  ired act- et   min  ff   ber  th-  ot   sit- sed  ket  tic- er's
                                            ing       ive                      out       or             ket
device          ours    4401 4401 ok   4404 ok   4401 4401 4403 ok   ok   ok   4403 ok   4403 4401 ok   4401 4404
device          none    4401 4401 ok   4404 ok   4401 4401 4403 ok   4401 4401 4401 4401 4401 4401 ok   4401 4404
device          foreign 403  403  403  403  403  403  403  403  403  403  403  403  403  403  403  403  403  403
unknown-device  ours    4401 4401 4404 4404 4404 4401 4401 4403 4404 4404 4404 4403 4404 4403 4401 4404 4401 4404
fleet           ours    4401 4401 4403 4403 4403 4401 4401 4403 ok   ok   ok   4403 ok   4403 4401 4403 4401 4403
fleet           none    4401 4401 4403 4403 4403 4401 4401 4403 ok   4401 4401 4401 4401 4401 4401 4403 4401 4403
fleet           foreign 403  403  403  403  403  403  403  403  403  403  403  403  403  403  403  403  403  403
nowhere         ours    4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404 4404
"""
# The same for API tokens, limited to a tag that only another device has or not, and for an account that is limited.
TOKENS = """
address         origin  rea- ing- lim- sco-
                        der  es-  it-  ped
                             ter  ed
device          ours    ok   4403 4404 4404
device          none    ok   4403 4404 4401
device          foreign 403  403  403  403
unknown-device  ours    4404 4403 4404 4404
fleet           ours    ok   4403 ok   ok
fleet           none    ok   4403 ok   4401
fleet           foreign 403  403  403  403
nowhere         ours    4404 4404 4404 4404
"""
CALLERS = (
    *("nobody", "wrong", "own", "other", "retiring", "retired", "inactive", "fleet", "admin"),
    *("staff", "member", "without", "root", "visitor", "closed", "ticket", "used_ticket", "other_ticket"),
    *("reader", "ingester", "limited", "scoped"),
)
PERMISSION = "readings.view_reading"
PERMISSIONS = [PERMISSION, "devices.view_device", "devices.change_device"]
ORIGINS = {"ours": OWN, "none": WITHOUT, "foreign": FOREIGN}
# The rest of the URL after `subscribe/`, by its pattern.
ADDRESSES = {
    "device": ("mote-1", r"^api/v1/realtime/subscribe/(?P<device_id>[A-Za-z0-9][A-Za-z0-9._:-]{0,63})/?$"),
    "unknown-device": ("mote-9", r"^api/v1/realtime/subscribe/(?P<device_id>[A-Za-z0-9][A-Za-z0-9._:-]{0,63})/?$"),
    "fleet": ("", r"^api/v1/realtime/subscribe/?$"),
    "nowhere": ("-mote", ""),
}
ROWS = [
    [*left, *right[2:]]
    for left, right in zip(*(map(str.split, table.strip().splitlines()[3:]) for table in (MATRIX, TOKENS)), strict=True)
]


def ticket_for(world, caller):
    now = timezone.now()
    device = Device.objects.get(device_id="mote-2") if caller == "other_ticket" else world.mote
    ticket, _ = Ticket.objects.issue(device=device, now=now)
    if caller == "used_ticket":
        Ticket.objects.redeem(ticket, now=now)
    return ticket


def headers_of(client):
    if "sessionid" in client.cookies:
        return {"cookie": f"sessionid={client.cookies['sessionid'].value}"}
    key = client._credentials.get("HTTP_X_API_KEY")
    return {"x_api_key": key} if key else {}


# Of a link to a view, whose token in the address is the only credential: realtime/tests/sharing/test_socket.py.
SHARE = r"^api/v1/realtime/share/(?P<token>[A-Za-z0-9_-]{32})/?$"


def test_every_address_has_a_row():
    assert set(sockets()) - {SHARE} == {pattern for _, pattern in ADDRESSES.values()}
    assert {row[0] for row in ROWS} == ADDRESSES.keys()


def test_every_row_has_a_cell_for_every_caller():
    assert {len(cells) for _, _, *cells in ROWS} == {len(CALLERS)}


@pytest.mark.parametrize("caller", CALLERS)
@in_a_loop
async def test_the_matrix(caller):
    world = await sync_to_async(World)(PERMISSION, PERMISSIONS)
    by_ticket = caller.endswith("ticket")
    headers = {} if by_ticket else headers_of(await sync_to_async(world.client)(caller))
    expected = {(address, origin): cells[CALLERS.index(caller)] for address, origin, *cells in ROWS}
    outcomes = {}

    for address, origin in expected:
        query = f"?ticket={await sync_to_async(ticket_for)(world, caller)}" if by_ticket else ""
        outcome = await fate(f"{ADDRESSES[address][0]}{query}", **headers, **ORIGINS[origin])
        outcomes[address, origin] = "ok" if outcome == "subscribed" else outcome.split()[0]

    assert outcomes == expected

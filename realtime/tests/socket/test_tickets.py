"""Tickets: each opens one socket, once, within 30 seconds."""

import threading
from datetime import datetime, timedelta

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.utils import timezone

from devices.tests.fixtures import problem, staff_client
from realtime.models import Ticket
from realtime.tests.sockets import ALLOWED, FOREIGN, WAIT_SECONDS, fate, in_a_loop

TICKETS = "/api/v1/realtime/tickets"


def ticket_from(client, **body):
    response = client.post(TICKETS, body)
    assert response.status_code == 201, response.content
    return response.json()["ticket"]


@pytest.mark.django_db
def test_it_answers_a_ticket_and_when_it_expires(admin, device):
    before = timezone.now()
    response = admin.post(TICKETS, {"device_id": "mote-1"})
    assert response.status_code == 201
    assert response.json().keys() == {"ticket", "expires_at"}
    life = datetime.fromisoformat(response.json()["expires_at"]) - before
    assert timedelta(seconds=29) < life < timedelta(seconds=31)


@pytest.mark.django_db
def test_who_gets_a_ticket_for_what(anyone, admin, as_device, fleet, device, other_device):
    clients = {"admin": admin, "device": as_device, "fleet": fleet, "anyone": anyone}
    wishes = {
        "itself": {"device_id": "mote-1"},
        "another": {"device_id": "mote-2"},
        "all": {},
        "none": {"device_id": "x"},
    }
    statuses = {
        who: {what: client.post(TICKETS, wish).status_code for what, wish in wishes.items()}
        for who, client in clients.items()
    }
    assert statuses == {
        "admin": {"itself": 201, "another": 201, "all": 201, "none": 404},
        "device": {"itself": 201, "another": 404, "all": 201, "none": 404},
        "fleet": dict.fromkeys(wishes, 403),
        "anyone": dict.fromkeys(wishes, 401),
    }


@pytest.mark.django_db
def test_a_staff_session_needs_leave_to_view_readings(device):
    assert staff_client("viewer", "readings.view_reading").post(TICKETS, {}).status_code == 201
    problem(staff_client("newcomer", "devices.view_device").post(TICKETS, {}), 403)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body",
    [{"device_id": 1}, {"device_id": "-x"}, {"device_id": "a\x00b"}, {"device_id": ""}, {"device": "mote-1"}, []],
)
def test_fields_it_cannot_take_are_named(admin, device, body):
    assert problem(admin.post(TICKETS, body), 422)["errors"]


@pytest.mark.django_db
def test_it_is_stored_by_hash_alone(admin, device):
    ticket = ticket_from(admin, device_id="mote-1")
    (row,) = Ticket.objects.values()
    assert ticket not in str(row)
    assert len(row["token_hash"]) == 64


@pytest.mark.django_db
def test_tickets_that_expired_unused_are_cleared_away(admin, device):
    ticket_from(admin, device_id="mote-1")
    Ticket.objects.update(expires_at=timezone.now())
    ticket_from(admin, device_id="mote-1")
    assert Ticket.objects.count() == 1


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_it_opens_one_socket_once(admin, device):
    ticket = await sync_to_async(ticket_from)(admin, device_id="mote-1")
    assert await fate(f"mote-1?ticket={ticket}") == "subscribed"
    assert await fate(f"mote-1?ticket={ticket}") == "4401 invalid_ticket"


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_it_ends_after_thirty_seconds(admin, device, monkeypatch):
    ticket = await sync_to_async(ticket_from)(admin, device_id="mote-1")
    later = timezone.now() + timedelta(seconds=31)
    monkeypatch.setattr("realtime.consumers.timezone.now", lambda: later)
    assert await fate(f"mote-1?ticket={ticket}") == "4401 invalid_ticket"


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_it_is_good_for_the_device_it_names_alone(admin, as_device, device, other_device):
    ticket = sync_to_async(ticket_from)
    assert await fate(f"mote-2?ticket={await ticket(admin, device_id='mote-1')}") == "4404 unknown_device"
    assert await fate(f"mote-2?ticket={await ticket(as_device)}") == "4404 unknown_device"
    assert await fate(f"mote-1?ticket={await ticket(as_device)}") == "subscribed"
    assert await fate(f"mote-2?ticket={await ticket(admin)}") == "subscribed"
    assert await fate(f"mote-9?ticket={await ticket(admin)}") == "4404 unknown_device"


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_it_is_for_pages_of_allowed_origins(admin, device):
    tickets = [await sync_to_async(ticket_from)(admin, device_id="mote-1") for _ in range(2)]
    assert await fate(f"mote-1?ticket={tickets[0]}", **ALLOWED) == "subscribed"
    assert await fate(f"mote-1?ticket={tickets[1]}", **FOREIGN) == "403"


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_nonsense_is_no_ticket(device):
    for ticket in ("x", "%00", "%FF", "1" * 5000):
        assert await fate(f"mote-1?ticket={ticket}") == "4401 invalid_ticket"
    assert await fate("mote-1?ticket=") == "4401 not_authenticated"


@pytest.mark.django_db(transaction=True)
def test_of_many_who_bring_it_at_once_one_gets_in():
    tokens = [Ticket.objects.issue(device=None, now=timezone.now())[0] for _ in range(20)]
    together = threading.Barrier(4)
    redeemed: list[str] = []

    def redeem() -> None:
        try:
            connection.ensure_connection()
            for token in tokens:
                together.wait(WAIT_SECONDS)
                if Ticket.objects.redeem(token, now=timezone.now()):
                    redeemed.append(token)
        finally:
            connection.close()

    threads = [threading.Thread(target=redeem) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(redeemed) == sorted(tokens)

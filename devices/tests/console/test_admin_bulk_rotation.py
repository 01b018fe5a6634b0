"""Rotating the keys of many devices from the console's list."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from devices.console import rotation as rotation_admin
from devices.models import Device
from devices.tests.fixtures import staff_client

pytestmark = pytest.mark.django_db

LIST = "/admin/devices/device/"


@pytest.fixture
def operator(db):
    return staff_client("operator", "devices.view_device", "devices.change_device")


def ask(client, *devices, **more):
    form = {"action": "rotate", "_selected_action": [str(device.pk) for device in devices], **more}
    return client.post(LIST, form, format="multipart", follow=True)


def replaced_in(response):
    (replaced,) = re.findall(r'name="replaced" value="(\w+)"', response.content.decode())
    return replaced


def keys_in(response):
    """Keys by device id; the page of a single key also has the code for the device."""
    text = response.content.decode()
    single = re.findall(r'data-device-id="([\w.:-]+)"', text), re.findall(r'id="api-key">(tlm_[\w-]{32})<', text)
    return dict(re.findall(r"^([\w.:-]+),(tlm_[\w-]{32})$", text, re.MULTILINE) or zip(*single, strict=True))


def test_it_asks_before_it_rotates_and_then_shows_every_key_once(operator, mote, other_device):
    device, key = mote
    asked = ask(operator, device, other_device[0])
    assert "mote-1" in asked.content.decode()
    assert Device.objects.for_key(key, now=timezone.now()) == device

    shown = ask(operator, device, other_device[0], overlap="0", replaced=replaced_in(asked))

    keys = keys_in(shown)
    assert keys.keys() == {"mote-1", "mote-2"}
    assert Device.objects.for_key(keys["mote-1"], now=timezone.now()) == device
    assert Device.objects.for_key(key, now=timezone.now()) is None
    assert "no-store" in shown["Cache-Control"]
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Rotated the API key."] * 2


def test_the_old_keys_work_on_where_that_is_chosen(operator, mote):
    device, key = mote
    ask(operator, device, overlap="3600", replaced=replaced_in(ask(operator, device)))
    assert Device.objects.for_key(key, now=timezone.now()) == device


def test_of_devices_with_an_earlier_key_that_works_none_is_rotated_unless_that_is_chosen(operator, mote, other_device):
    device, first = mote
    second = device.rotate_key(overlap=timedelta(hours=1), now=timezone.now())
    asked = ask(operator, device, other_device[0])
    page = asked.content.decode()
    assert f"<code>mote-1</code> works until {device.retiring_key_expires_at:%Y-%m-%d %H:%M} UTC" in page
    assert "<code>mote-2</code> works until" not in page
    sent = {"overlap": "3600", "replaced": replaced_in(asked)}

    refused = ask(operator, device, other_device[0], **sent)
    assert keys_in(refused) == {}
    assert refused.context["form"].errors.keys() == {"force"}
    assert not LogEntry.objects.exists()

    keys = keys_in(ask(operator, device, other_device[0], **sent, force="on"))
    found = [Device.objects.for_key(key, now=timezone.now()) for key in (first, second, keys["mote-1"])]
    assert found == [None, device, device]
    assert Device.objects.for_key(other_device[1], now=timezone.now()) == other_device[0]


def test_a_page_that_is_sent_again_does_not_rotate_again(operator, mote):
    device, _ = mote
    sent = {"overlap": "0", "replaced": replaced_in(ask(operator, device))}
    key = keys_in(ask(operator, device, **sent))["mote-1"]
    again = ask(operator, device, **sent)
    assert "rotated already" in again.content.decode()
    assert Device.objects.for_key(key, now=timezone.now()) == device


def test_more_than_anyone_can_hand_out_are_refused(operator, device, other_device, monkeypatch):
    monkeypatch.setattr(rotation_admin, "ROTATED_AT_ONCE", 1)
    assert "Choose at most 1 devices" in ask(operator, device, other_device[0]).content.decode()


def test_who_may_only_view_rotates_nothing(mote):
    device, key = mote
    ask(staff_client("viewer", "devices.view_device"), device, overlap="0", replaced="x")
    assert Device.objects.for_key(key, now=timezone.now()) == device

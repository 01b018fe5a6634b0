"""Activating and deactivating devices from the console's list."""

import re
from typing import Any

import pytest
from django.contrib.admin import site as admin_site
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.urls import reverse

from devices.models import Device
from devices.tests.fixtures import staff_client

pytestmark = pytest.mark.django_db

LIST = "/admin/devices/device/"
MODELS: list[Any] = sorted(admin_site._registry, key=lambda model: model.__name__)


@pytest.fixture
def operator(db):
    return staff_client("operator", "devices.view_device", "devices.change_device")


def ask(client, action, *devices, path=LIST, **more):
    """Chooses the action; the answer asks, unless the form says what was confirmed."""
    form = {"action": action, "_selected_action": [str(device.pk) for device in devices], **more}
    return client.post(path, form, format="multipart")


def confirmed_in(response):
    return re.findall(r'name="confirmed" value="(\w+)"', response.content.decode())


def act(client, action, *devices, **more):
    """Chooses the action, and confirms it if it asks."""
    asked = ask(client, action, *devices, **more)
    confirmed = confirmed_in(asked)
    return ask(client, action, *devices, **more, confirmed=confirmed[0]) if confirmed else asked


def active():
    return dict(Device.objects.values_list("device_id", "is_active"))


def test_deactivating_refuses_the_chosen_devices_keys(operator, device, other_device, as_device, as_other_device):
    assert act(operator, "deactivate", device).status_code == 302
    assert active() == {"mote-1": False, "mote-2": True}
    assert as_device.post("/api/v1/ingest", {"temperature": 1}).status_code == 401
    assert as_other_device.post("/api/v1/ingest", {"temperature": 1}).status_code == 201


def test_activating_takes_them_back(operator, device, as_device):
    act(operator, "deactivate", device)
    assert act(operator, "activate", device).status_code == 302
    assert as_device.post("/api/v1/ingest", {"temperature": 1}).status_code == 201


def test_only_what_changed_is_told_and_written_down(operator, device, other_device):
    act(operator, "deactivate", device)
    response = act(operator, "deactivate", device, other_device[0])
    page = operator.get(response["Location"]).content.decode()
    assert "Deactivated 1 of the chosen devices." in page
    entries = LogEntry.objects.order_by("pk").values_list("object_repr", "change_message", "user__username")
    assert list(entries) == [("mote-1", "Deactivated.", "operator"), ("mote-2", "Deactivated.", "operator")]


def test_all_devices_of_many_pages_can_be_chosen(operator, device):
    for n in range(120):
        Device.objects.register(device_id=f"node-{n}")
    act(operator, "deactivate", device, select_across="1")
    assert set(active().values()) == {False}


def test_a_filtered_list_changes_what_it_shows_alone(operator, device, other_device):
    act(operator, "deactivate", device, select_across="1", path=f"{LIST}?q=mote-1&status=never")
    assert active() == {"mote-1": False, "mote-2": True}


def test_who_may_only_view_has_no_actions(device):
    viewer = staff_client("viewer", "devices.view_device")
    act(viewer, "deactivate", device)
    assert active() == {"mote-1": True}
    assert 'value="deactivate"' not in viewer.get(LIST).content.decode()


@pytest.mark.parametrize("chosen", [[], ["nonsense"], ["00000000-0000-0000-0000-000000000000"]])
def test_an_odd_choice_changes_nothing(operator, device, chosen):
    form = {"action": "deactivate", "_selected_action": chosen}
    assert operator.post(LIST, form, format="multipart").status_code in (200, 302)
    assert active() == {"mote-1": True}


@pytest.mark.parametrize(("action", "is_active"), [("deactivate", True), ("activate", False)])
def test_it_asks_how_many_and_which_before_it_changes_any(operator, device, other_device, action, is_active):
    Device.objects.update(is_active=is_active)

    page = ask(operator, action, device, other_device[0]).content.decode()

    assert f"{action.capitalize()} 2 devices" in page
    assert "<code>mote-1</code> <code>mote-2</code>" in page
    assert set(active().values()) == {is_active}
    assert not LogEntry.objects.exists()


def test_the_page_names_those_alone_that_will_change_and_no_more_than_twenty(operator, device):
    for n in range(30):
        Device.objects.register(device_id=f"node-{n:02}")
    Device.objects.filter(device_id="node-00").update(is_active=False)

    page = ask(operator, "deactivate", device, select_across="1").content.decode()

    assert "Deactivate 30 devices" in page
    assert page.count("<code>") == 20
    assert "and 10 more." in page
    assert "node-00" not in page


@pytest.mark.parametrize("confirmed", ["", "x", "0" * 16])
def test_what_was_not_confirmed_is_not_changed(operator, device, confirmed):
    assert confirmed_in(ask(operator, "deactivate", device, confirmed=confirmed))
    assert active() == {"mote-1": True}


def test_if_the_list_has_changed_meanwhile_it_asks_again(operator, device):
    confirmed = confirmed_in(ask(operator, "deactivate", device, select_across="1"))[0]
    Device.objects.register(device_id="mote-3")

    again = ask(operator, "deactivate", device, select_across="1", confirmed=confirmed)

    assert "The list has changed meanwhile" in again.content.decode()
    assert active() == {"mote-1": True, "mote-3": True}
    ask(operator, "deactivate", device, select_across="1", confirmed=confirmed_in(again)[0])
    assert active() == {"mote-1": False, "mote-3": False}


def test_where_nothing_would_change_it_does_not_ask(operator, device):
    response = ask(operator, "activate", device)

    assert response.status_code == 302
    assert "Activated 0 of the chosen devices." in operator.get(response["Location"]).content.decode()


def changeable():
    return [list(model._default_manager.order_by("pk").values_list()) for model in (Device, User, Group, LogEntry)]


def actions_of(page):
    """The actions that a list offers, without the empty choice."""
    menu = page.split('name="action"')[-1].split("</select>")[0]
    return re.findall(r'<option value="(\w+)"', menu)


@pytest.mark.parametrize("model", MODELS)
def test_every_action_of_every_list_asks_before_it_changes_anything(device, other_device, admin_user, model):
    root = staff_client("root")
    root.force_login(admin_user)
    Group.objects.get_or_create(name="people")
    Device.objects.filter(pk=device.pk).update(is_active=False)
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    chosen = [str(pk) for pk in model._default_manager.values_list("pk", flat=True)]
    page = root.get(address).content.decode()
    actions = actions_of(page) if 'name="action"' in page else []
    before = changeable()

    for action in actions:
        form = {"action": action, "_selected_action": chosen}
        assert root.post(address, form, format="multipart").status_code == 200, action

    assert changeable() == before
    assert bool(actions) is (model in (Device, User, Group))

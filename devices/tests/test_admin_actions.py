"""Activating and deactivating devices from the console's list."""

import pytest
from django.contrib.admin.models import LogEntry

from devices.models import Device
from devices.tests.fixtures import staff_client

pytestmark = pytest.mark.django_db

LIST = "/admin/devices/device/"


@pytest.fixture
def operator(db):
    return staff_client("operator", "devices.view_device", "devices.change_device")


def act(client, action, *devices):
    form = {"action": action, "_selected_action": [str(device.pk) for device in devices]}
    return client.post(LIST, form, format="multipart")


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
    form = {"action": "deactivate", "_selected_action": [str(device.pk)], "select_across": "1"}
    operator.post(LIST, form, format="multipart")
    assert set(active().values()) == {False}


def test_a_filtered_list_changes_what_it_shows_alone(operator, device, other_device):
    form = {"action": "deactivate", "_selected_action": [str(device.pk)], "select_across": "1"}
    operator.post(f"{LIST}?q=mote-1&status=never", form, format="multipart")
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

"""Devices in the console: search, sort, filter and edit; no deletion."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.admin import DeviceAdmin
from devices.models import Device, DeviceState
from devices.tests.fixtures import staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LIST = "/admin/devices/device/"
COLUMNS = ["device_id", "name", "tag_list", "status", "last_seen", "latest_values", "last_seq", "is_active", "live"]


@pytest.fixture
def operator(db):
    return staff_client(
        "operator", "devices.view_device", "devices.add_device", "devices.change_device", "readings.view_reading"
    )


@pytest.fixture
def viewer(db):
    return staff_client("viewer", "devices.view_device", "readings.view_reading")


@pytest.fixture
def fleet_of_five(db):
    """Devices of every status with a report interval of a minute, except the slow one with an hour."""
    now = timezone.now()
    silence = {"fresh": 10, "quiet": 150, "lost": 4000, "slow": 3000, "new": None}
    for length, (device_id, seconds) in enumerate(silence.items()):
        Device.objects.register(device_id=device_id, name=f"Room {5 - length}")
        seen = None if seconds is None else now - timedelta(seconds=seconds)
        DeviceState.objects.filter(device__device_id=device_id).update(last_seen_at=seen, last_seq=length)
    Device.objects.filter(device_id="slow").update(report_interval=3600)
    Device.objects.filter(device_id="lost").update(is_active=False)


def change_url(device):
    return f"{LIST}{device.pk}/change/"


def shown(client, query=""):
    """The ids of the devices in a list, in the order of the list."""
    response = client.get(f"{LIST}{query}")
    assert response.status_code == 200, response.content
    return [device.device_id for device in response.context["cl"].result_list]


def test_it_is_for_staff_that_may_view_devices(anyone, staff_without_permission, viewer, device):
    assert anyone.get(LIST).status_code == 302
    assert staff_without_permission.get(LIST).status_code == 403
    assert shown(viewer) == ["mote-1"]


def test_it_shows_the_state_of_each(viewer, fleet_of_five):
    page = viewer.get(f"{LIST}?q=quiet").content.decode()
    for text in ("quiet", "Room 4", "late", "/live/quiet/"):
        assert text in page


@pytest.mark.parametrize(
    ("text", "expected"),
    [("LOS", ["lost"]), ("room 4", ["quiet"]), ("e", ["fresh", "new", "quiet"]), ("xyz", []), ("%25", [])],
)
def test_search_finds_a_part_of_the_id_or_the_name(viewer, fleet_of_five, text, expected):
    Device.objects.update(name="")
    Device.objects.filter(device_id="quiet").update(name="Room 4")
    assert shown(viewer, f"?q={text}") == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [("online", ["fresh", "slow"]), ("late", ["quiet"]), ("offline", ["lost"]), ("never", ["new"])],
)
def test_it_filters_by_status(viewer, fleet_of_five, status, expected):
    assert shown(viewer, f"?status={status}") == expected


def test_it_filters_by_being_active(viewer, fleet_of_five):
    assert shown(viewer, "?is_active__exact=0") == ["lost"]
    assert shown(viewer, "?is_active__exact=1&status=offline") == []


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("device_id", ["fresh", "lost", "new", "quiet", "slow"]),
        ("name", ["new", "slow", "lost", "quiet", "fresh"]),
        ("status", ["quiet", "new", "lost", "fresh", "slow"]),
        ("last_seq", ["fresh", "quiet", "lost", "slow", "new"]),
        ("is_active", ["lost", "fresh", "new", "quiet", "slow"]),
    ],
)
def test_it_sorts_by_every_column(operator, fleet_of_five, column, expected):
    number = COLUMNS.index(column) + 1
    ascending, descending = shown(operator, f"?o={number}"), shown(operator, f"?o=-{number}")
    assert sorted(ascending) == sorted(descending) == sorted(expected)
    if column in ("is_active", "status"):  # the order of devices with equal values depends on the database
        values = {d.device_id: str(getattr(d, column)) for d in Device.objects.with_status(now=timezone.now())}
        expected = sorted(values.values())
        ascending, descending = [values[d] for d in ascending], [values[d] for d in descending]
    assert ascending == expected
    assert descending == expected[::-1]


def test_it_sorts_by_the_last_sign_of_life(operator, fleet_of_five):
    number = COLUMNS.index("last_seen") + 1
    # The position of a device that was never seen depends on the database.
    ascending = [device_id for device_id in shown(operator, f"?o={number}") if device_id != "new"]
    assert ascending == ["lost", "slow", "quiet", "fresh"]


@pytest.mark.parametrize("query", ["?o=7", "?o=99", "?o=x", "?p=x", "?q=%00", "?status=x", "?status=%00", "?p=999"])
def test_odd_addresses_are_no_fault_of_ours(viewer, fleet_of_five, query):
    assert viewer.get(f"{LIST}{query}", follow=True).status_code == 200


def test_the_list_costs_the_same_however_many_there_are(viewer, device):
    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            shown(viewer)
        return len(queries)

    viewer.get(LIST)
    one = cost()
    for n in range(20):
        Device.objects.register(device_id=f"node-{n}")
    assert cost() == one


def test_a_device_keeps_its_id_and_what_the_machine_wrote(operator, device):
    DeviceState.objects.update(last_seq=7)
    form = {
        "device_id": "renamed",
        "last_seq": "0",
        "key_hint": "x",
        "name": "Attic",
        "is_active": "on",
        "report_interval": "5",
    }
    assert operator.post(change_url(device), form, format="multipart").status_code == 302
    after = Device.objects.select_related("state").get(pk=device.pk)
    assert (after.device_id, after.name, after.report_interval, after.state.last_seq) == ("mote-1", "Attic", 5, 7)
    assert (after.api_key_hash, after.key_hint) == (device.api_key_hash, device.key_hint)
    assert 'name="device_id"' not in operator.get(change_url(device)).content.decode()


def test_a_change_does_not_write_over_what_was_not_on_the_form(operator, device, mote):
    """It also does not restore a key that was rotated while the form was open."""
    page = operator.get(change_url(device))
    device.rotate_key(overlap=timedelta(0), now=timezone.now())
    assert page.status_code == 200
    operator.post(change_url(device), {"name": "Attic", "is_active": "on", "report_interval": ""}, format="multipart")
    assert Device.objects.for_key(mote[1], now=timezone.now()) is None


@pytest.mark.parametrize("interval", ["0", "-1", "1.5", "x", "2678401"])
def test_a_report_interval_that_is_none_is_refused(operator, device, interval):
    form = {"name": "", "is_active": "on", "report_interval": interval}
    response = operator.post(change_url(device), form, format="multipart")
    assert response.status_code == 200
    assert "report_interval" in response.context["adminform"].form.errors


def test_nobody_deletes_a_device(device):
    root = staff_client("root", "devices.view_device", "devices.change_device", "devices.delete_device")
    assert root.get(f"{LIST}{device.pk}/delete/").status_code == 403
    assert root.post(f"{LIST}{device.pk}/delete/", {"post": "yes"}, format="multipart").status_code == 403
    form = {"action": "delete_selected", "_selected_action": [str(device.pk)], "post": "yes"}
    root.post(LIST, form, format="multipart")
    assert Device.objects.count() == 1
    assert not LogEntry.objects.exists()


def test_saving_the_form_leaves_alone_what_it_did_not_change(operator, device, monkeypatch):
    """A key that was rotated while the form was being saved stays rotated."""
    rotated = {}

    def rotate_meanwhile(self, request, obj, form, change):
        rotated["key"] = Device.objects.get(pk=obj.pk).rotate_key(overlap=timedelta(0), now=timezone.now())
        return save_model(self, request, obj, form, change)

    save_model = DeviceAdmin.save_model
    monkeypatch.setattr(DeviceAdmin, "save_model", rotate_meanwhile)

    operator.post(change_url(device), {"name": "South window", "is_active": "on"}, format="multipart")

    device.refresh_from_db()
    assert device.name == "South window"
    assert Device.objects.for_key(rotated["key"], now=timezone.now()) == device

"""Whoever changes a device is in the list of changes, whichever way was used."""

import json

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from devices.changes.log import API_KEY, COMMAND_LINE, service_account
from devices.models import Device
from devices.tests.fixtures import problem, staff_client
from readings.tests.logs import new, store
from readings.upkeep import change_log
from readings.upkeep.change_log import trim_changes

pytestmark = pytest.mark.django_db

DEVICES = "/api/v1/devices"
URL = f"{DEVICES}/mote-1"


def listed():
    return [
        (entry.user.username, entry.object_repr, entry.action_flag, entry.get_change_message())
        for entry in LogEntry.objects.order_by("id")
    ]


@pytest.fixture(params=["key", "session"])
def who(request, admin, db):
    """A client that may change devices, and the account that it is logged under."""
    if request.param == "key":
        return admin, API_KEY
    permissions = [f"devices.{verb}_device" for verb in ("view", "add", "change", "delete")]
    return staff_client("ada", *permissions), "ada"


def test_what_is_changed_over_the_api_is_logged_with_who_and_which_fields(who, device):
    client, name = who

    client.patch(URL, {"name": "South window", "report_interval": 30})
    client.patch(URL, {"is_active": False, "name": "South window"})
    client.patch(URL, {"is_active": True})
    client.delete(URL)

    assert listed() == [
        (name, "mote-1", CHANGE, "Changed Name and Report interval."),
        (name, "mote-1", CHANGE, "Changed Active."),
        (name, "mote-1", CHANGE, "Changed Active."),
        (name, "mote-1", CHANGE, "Deactivated."),
    ]


def test_a_new_device_and_a_new_key_are_logged_without_the_key(who):
    client, name = who

    keys = [client.post(DEVICES, {"device_id": "mote-5"}).json()["api_key"]]
    keys.append(client.post(f"{DEVICES}/mote-5/rotate-key").json()["api_key"])

    assert listed() == [(name, "mote-5", ADDITION, "Added."), (name, "mote-5", CHANGE, "Rotated the API key.")]
    stored = json.dumps(list(LogEntry.objects.values()), default=str)
    assert all(key.startswith("tlm_") and key not in stored for key in keys)


def test_what_changes_nothing_is_not_logged(who, device):
    client, _ = who
    Device.objects.update(report_interval=30)

    client.patch(URL, {})
    client.patch(URL, {"name": "North window", "is_active": True, "report_interval": 30})
    problem(client.patch(URL, {"name": "South window", "report_interval": 0}), 422)
    problem(client.post(DEVICES, {"device_id": "mote-1"}), 409)
    problem(client.patch(f"{DEVICES}/mote-9", {"name": "x"}), 404)
    Device.objects.update(is_active=False)
    client.delete(URL)
    client.get(URL)

    assert listed() == []


def test_a_change_that_cannot_be_logged_is_not_made(who, mote, monkeypatch, as_device):
    client, _ = who

    def fail(*args, **kwargs):
        raise OperationalError("the list of changes is away")

    monkeypatch.setattr(type(LogEntry.objects), "log_actions", fail)
    calls = [
        lambda: client.patch(URL, {"name": "South window"}),
        lambda: client.delete(URL),
        lambda: client.post(f"{URL}/rotate-key"),
        lambda: client.post(DEVICES, {"device_id": "mote-5"}),
    ]

    assert [call().status_code for call in calls] == [503] * 4
    assert list(Device.objects.values_list("device_id", "name", "is_active")) == [("mote-1", "North window", True)]
    assert as_device.get(URL).status_code == 200


def test_a_change_costs_few_queries(admin, device):
    admin.patch(URL, {"name": "First"})

    for n in range(3):
        with CaptureQueriesContext(connection) as queries:
            admin.patch(URL, {"name": f"Name {n}"})
        assert len([query for query in queries if "SAVEPOINT" not in query["sql"]]) <= 8


@pytest.mark.django_db(transaction=True)
def test_commands_are_logged(device, tmp_path, capsys):
    store([new()])
    call_command("register_device", "mote-7")
    key = capsys.readouterr().out.strip()
    file = tmp_path / "readings.csv"
    file.write_text("device_id,timestamp,temperature\nmote-8,2026-05-09T10:00:00Z,1\nmote-1,2026-05-09T10:00:00Z,1\n")
    call_command("import_readings", str(file), register=True)
    assert listed()[1:] == [(COMMAND_LINE, "mote-8", ADDITION, "Added.")]
    call_command("erase_device", "mote-1", yes=True)
    call_command("erase_device", "mote-8", yes=True, with_device=True)

    assert listed() == [
        (COMMAND_LINE, "mote-7", ADDITION, "Added."),
        (COMMAND_LINE, "mote-1", CHANGE, "Erased its readings, statistics and refused posts."),
        (COMMAND_LINE, "[erased]", 3, "Erased a device with all its data."),
    ]
    assert key not in str(list(LogEntry.objects.values()))


class TestServiceAccounts:
    @pytest.mark.parametrize("name", [API_KEY, COMMAND_LINE])
    def test_nobody_signs_in_with_one(self, name):
        user = User.objects.get(pk=service_account(name))

        assert (user.is_active, user.is_staff, user.has_usable_password()) == (False, False, False)
        assert service_account(name) == user.pk

    def test_the_console_neither_shows_nor_deletes_one(self, admin_client):
        pk = service_account(API_KEY)

        assert API_KEY not in admin_client.get("/admin/auth/user/").content.decode()
        for page in ("change", "delete", "password"):
            assert admin_client.get(f"/admin/auth/user/{pk}/{page}/").status_code in (302, 404)
        form = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
        admin_client.post("/admin/auth/user/", form)
        assert User.objects.filter(pk=pk).exists()

    def test_the_console_shows_its_changes(self, admin, admin_client, device):
        admin.patch(URL, {"name": "South window"})

        for page in ("/admin/", "/admin/admin/logentry/", f"/admin/devices/device/{device.pk}/history/"):
            text = admin_client.get(page).content.decode()
            assert API_KEY in text
            assert "Changed Name." in text


def test_the_newest_changes_of_each_account_stay(device, monkeypatch):
    monkeypatch.setattr(change_log, "CHANGES_KEPT", 5)
    monkeypatch.setattr(change_log, "CHUNK_ROWS", 3)
    quiet, busy = (User.objects.create_user(name) for name in ("quiet", "busy"))
    for n in range(12):
        LogEntry.objects.log_actions(busy.pk, [device], CHANGE, f"Change {n}.")
        if n < 5:
            LogEntry.objects.log_actions(quiet.pk, [device], CHANGE, f"Change {n}.")

    assert list(trim_changes()) == [3, 3, 1]  # no transaction is longer
    assert list(trim_changes()) == []

    assert LogEntry.objects.filter(user=quiet).count() == 5
    assert sorted(LogEntry.objects.filter(user=busy).values_list("change_message", flat=True)) == [
        f"Change {n}." for n in (10, 11, 7, 8, 9)
    ]


def test_maintenance_trims_the_list(device, monkeypatch):
    monkeypatch.setattr(change_log, "CHANGES_KEPT", 2)
    busy = User.objects.create_user("busy")
    for n in range(4):
        LogEntry.objects.log_actions(busy.pk, [device], CHANGE, f"Change {n}.")

    call_command("maintain", once=True)

    assert LogEntry.objects.count() == 2

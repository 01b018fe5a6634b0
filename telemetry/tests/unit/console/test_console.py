"""The console's first page, its list of changes, and the permissions of its three groups."""

import importlib
import re
from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry, LogEntryManager
from django.contrib.auth.models import Group, Permission, User
from django.db import OperationalError
from django.db.models import QuerySet
from django.utils import timezone

from devices.console.activation import digest
from devices.models import Device, DeviceState, Tag
from devices.tests.fixtures import EVERYTHING, client_with, new_client, staff_client
from readings.alarms.tests.rules import alarm_of
from readings.models import Rejection
from readings.tests.logs import make_devices, new, store
from realtime.pages.fleet import fleet_rows

pytestmark = [pytest.mark.django_db, pytest.mark.once]

VIEW = ("devices.view_device", "readings.view_reading")


def member_of(name):
    user = User.objects.create_user(name.lower(), is_staff=True)
    user.groups.add(Group.objects.get(name=name))
    client = new_client()
    client.force_login(user)
    return client


def page(client, path="/admin/"):
    response = client.get(path)
    assert response.status_code == 200, path
    return response.content.decode()


def test_without_devices_it_has_one_button():
    shown = page(staff_client("operator", *VIEW, "devices.add_device"))
    assert "Add a device" in shown
    assert "Readings per minute" not in shown


def test_who_may_add_none_is_told_so():
    assert "Add a device" not in page(staff_client("viewer", *VIEW))


def test_it_says_how_the_fleet_is(device, other_device):
    store([new()])
    client_with("tlm_zzzz" + "x" * 28).post("/api/v1/ingest", {"temperature": 1})
    shown = page(staff_client("viewer", *VIEW, "readings.view_rejection"))
    figures = ("Readings received", "Storage", '<dd class="figure">never')
    for text in (*figures, "tlm_zzzz…", 'href="/live/?status=offline"'):
        assert text in shown


def test_an_account_without_leave_to_view_is_shown_nothing_of_the_fleet(device):
    shown = page(staff_client("newcomer"))
    assert "Readings received" not in shown
    assert "This account has no permissions" in shown


def test_a_viewer_may_look_at_all_and_change_nothing(device):
    viewer = member_of("Viewers")
    for path in ("/admin/", "/admin/devices/device/", "/admin/readings/reading/", "/live/", "/live/mote-1/"):
        page(viewer, path)
    page(viewer, f"/admin/devices/device/{device.pk}/change/")
    assert viewer.get("/admin/devices/device/add/").status_code == 403
    form = {"name": "Changed"}
    assert viewer.post(f"/admin/devices/device/{device.pk}/change/", form, format="multipart").status_code == 403
    assert viewer.get("/admin/auth/user/").status_code == 403


def test_an_operator_may_add_and_change_devices_but_no_accounts(device):
    operator = member_of("Operators")
    page(operator, "/admin/devices/device/add/")
    assert "Rotate key" in page(operator, "/live/mote-1/")
    assert operator.get("/admin/auth/user/").status_code == 403


@pytest.mark.parametrize(
    ("role", "statuses"),
    [("Viewers", (200, 200, 403, 403)), ("Operators", (200, 200, 200, 403)), ("Administrators", (200, 200, 200, 201))],
)
def test_roles_see_alarms_acknowledge_them_and_manage_rules(device, role, statuses):
    alarm = alarm_of("mote-1")
    client = member_of(role)
    rule = {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30}

    asked = (
        client.get("/api/v1/alarms"),
        client.get("/api/v1/alarm-rules"),
        client.post(f"/api/v1/alarms/{alarm.pk}/acknowledge"),
        client.post("/api/v1/alarm-rules", rule),
    )

    assert tuple(response.status_code for response in asked) == statuses


def test_groups_from_before_there_were_alarms_get_their_permissions(device):
    migration = importlib.import_module("telemetry.migrations.0002_roles_see_alarms")
    new = ("view_alarm", "view_rule", "acknowledge_alarm")
    for group in Group.objects.all():
        group.permissions.remove(*Permission.objects.filter(codename__in=new))
    Group.objects.filter(name="Operators").delete()

    migration.add(apps, None)

    assert set(
        Group.objects.get(name="Viewers").permissions.filter(codename__in=new).values_list("codename", flat=True)
    ) == {
        "view_alarm",
        "view_rule",
    }
    assert not Group.objects.filter(name="Operators").exists()
    assert Permission.objects.filter(codename="view_alarm").count() == 1


def test_groups_from_before_the_catalogue_of_metrics_get_their_permissions():
    migration = importlib.import_module("telemetry.migrations.0003_roles_see_metrics")
    new = ("view_metric", "change_metric")
    for group in Group.objects.all():
        group.permissions.remove(*Permission.objects.filter(codename__in=new))

    migration.add(apps, None)

    for name, given in (("Viewers", {"view_metric"}), ("Operators", set(new)), ("Administrators", set(new))):
        found = Group.objects.get(name=name).permissions.filter(codename__in=new)
        assert set(found.values_list("codename", flat=True)) == given


def test_what_operators_changed_can_be_looked_up_by_whoever_may(device):
    operator = staff_client("operator", *VIEW, "devices.change_device", "admin.view_logentry")
    form = {"action": "deactivate", "_selected_action": [str(device.pk)], "confirmed": digest([device])}
    operator.post("/admin/devices/device/", form, format="multipart")
    for path in ("/admin/", "/admin/admin/logentry/"):
        shown = page(operator, path)
        assert "Deactivated." in shown
        assert "operator" in shown
    assert staff_client("viewer", *VIEW).get("/admin/admin/logentry/").status_code == 403
    assert operator.get("/admin/admin/logentry/add/").status_code == 403


def test_changes_can_be_narrowed_to_the_kinds_that_were_changed(device):
    operator = staff_client("operator", *VIEW, "auth.view_user", "admin.view_logentry")
    account = User.objects.get(username="operator")
    LogEntry.objects.log_actions(account.pk, [device], CHANGE, "Deactivated.")
    LogEntry.objects.log_actions(account.pk, [account], CHANGE, "Renamed.")
    address = "/admin/admin/logentry/"
    kinds = re.findall(r'href="(\?content_type__id__exact=\d+)"', page(operator, address))
    assert len(kinds) == 2
    shown = [page(operator, address + kind) for kind in kinds]
    assert sorted(("Deactivated." in text, "Renamed." in text) for text in shown) == [(False, True), (True, False)]
    assert re.findall(r'__id__exact=\d+">\s*([^<]+?)\s*</a>', page(operator, address)) == ["account", "device"]


def test_devices_are_found_by_their_tags_once(device):
    for name in ("greenhouse-3", "greenhouse-old"):
        device.tags.through.objects.create(device=device, tag=Tag.objects.create(name=name, key=name, colour="grey"))
    Device.objects.register(device_id="mote-2")
    shown = page(staff_client("viewer", *VIEW), "/admin/devices/device/?q=GREENHOUSE")
    assert shown.count('class="field-device_id"') == 1


def test_operators_may_change_the_groups_for_good(django_db_blocker):
    from telemetry.console.roles import make_roles

    Group.objects.get(name="Viewers").permissions.clear()
    make_roles()
    assert not Group.objects.get(name="Viewers").permissions.exists()


@pytest.mark.django_db(transaction=True)
def test_a_group_that_cannot_get_its_permissions_is_not_made(monkeypatch):
    from telemetry.console.roles import make_roles

    def fail(*_, **__):
        raise OperationalError("no permissions")

    Group.objects.filter(name="Viewers").delete()
    with monkeypatch.context() as patched:
        patched.setattr(Permission.objects, "filter", fail)
        with pytest.raises(OperationalError):
            make_roles()
    assert not Group.objects.filter(name="Viewers").exists()
    make_roles()
    assert Group.objects.get(name="Viewers").permissions.exists()


@pytest.mark.django_db(transaction=True)
def test_accounts_change_only_with_their_log_entries(monkeypatch):
    client = staff_client("root")
    User.objects.filter(username="root").update(is_superuser=True)
    account = User.objects.create_user("colleague", password="correct horse battery")
    password = account.password

    def fail(*_, **__):
        raise OperationalError("no log entry")

    monkeypatch.setattr(LogEntryManager, "log_actions", fail)
    new = {"password1": "staple battery horse", "password2": "staple battery horse", "usable_password": "true"}
    assert client.post(f"/admin/auth/user/{account.pk}/password/", new, format="multipart").status_code == 503
    account.refresh_from_db()
    assert account.password == password


@pytest.mark.django_db(transaction=True)
def test_where_accounts_cannot_be_deleted_the_log_does_not_say_they_were(monkeypatch):
    client = staff_client("root")
    User.objects.filter(username="root").update(is_superuser=True)
    account = User.objects.create_user("colleague")

    def fail(*_, **__):
        raise OperationalError("not deleted")

    monkeypatch.setattr(QuerySet, "delete", fail)
    chosen = {"action": "delete_selected", "_selected_action": [str(account.pk)], "post": "yes"}
    assert client.post("/admin/auth/user/", chosen, format="multipart").status_code == 503
    assert User.objects.filter(pk=account.pk).exists()
    assert not LogEntry.objects.exists()


def test_its_numbers_are_for_people():
    from telemetry.templatetags.sizes import bytes as size
    from telemetry.templatetags.sizes import thousands

    assert [size(n) for n in (0, 999, 1500, 52_000_000, 3_400_000_000)] == ["0 B", "999 B", "1.5 kB", "52 MB", "3.4 GB"]
    assert [thousands(n) for n in (0, 2, 2.55, 20_140_000)] == ["0", "2", "2.5", "20,140,000"]


def test_deactivated_devices_are_not_offline(device):
    Device.objects.update(is_active=False)
    assert "No device is offline" in page(staff_client("viewer", *VIEW))


@pytest.mark.parametrize(("offline", "more"), [(0, None), (1, None), (200, None), (201, "201"), (1100, "1,100")])
def test_a_cut_list_of_offline_devices_leads_to_all_of_them(offline, more):
    device_ids = make_devices(offline + 3)
    seen = DeviceState.objects.filter(device_id__in=device_ids[: offline + 1])
    seen.update(last_seen_at=timezone.now() - timedelta(days=1))
    Device.objects.filter(device_id=device_ids[offline]).update(is_active=False)
    viewer = staff_client("viewer", *VIEW)

    found = re.findall(r'<a href="([^"]*)">All ([\d,]+) offline devices</a>', page(viewer))

    assert found == ([] if more is None else [("/live/?status=offline", more)])
    rows = fleet_rows(EVERYTHING, now=timezone.now())
    assert sum(active and status == "offline" for _, _, active, status, *_ in rows) == offline


def test_other_cut_lists_lead_to_all_of_theirs(device):
    now = timezone.now()
    for n in range(12):
        Rejection.objects.create(device_id="mote-1", code=f"c{n}", status=422, detail="x", first_at=now, last_at=now)
        LogEntry.objects.log_actions(User.objects.create_user(f"u{n}").pk, [device], CHANGE, "Changed.")
    shown = page(staff_client("auditor", *VIEW, "readings.view_rejection", "admin.view_logentry"))
    for link in ("/admin/readings/rejection/", "/admin/admin/logentry/"):
        assert f'<p class="more"><a href="{link}">All ' in shown


def test_an_empty_list_says_so_and_offers_nothing_to_do_with_it():
    shown = page(staff_client("operator", *VIEW, "devices.change_device"), "/admin/devices/device/")
    assert "Nothing here yet." in shown
    for absent in ("changelist-filter-header", 'name="action"', "0 found", "Show all"):
        assert absent not in shown


@pytest.mark.parametrize("query", ["?q=zzz", "?status=offline"])
def test_a_list_that_was_narrowed_to_nothing_leads_back(device, query):
    shown = page(staff_client("viewer", *VIEW), f"/admin/devices/device/{query}")
    assert 'Nothing matches. <a href="?">Show all</a>' in shown


def test_what_has_no_readings_is_named(device):
    viewer = staff_client("viewer", *VIEW)
    assert "No readings of mote-1." in page(viewer, "/admin/readings/reading/?q=mote-1")
    assert "No readings." in page(viewer, "/admin/readings/reading/")

"""After a device was erased, no table contains its id or name."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from devices.access.rotation import fingerprint
from devices.console.activation import digest
from devices.keys import key_hint
from devices.models import Device
from devices.tests.fixtures import FLEET_KEY, client_with, new_client, staff_client
from readings.alarms.models import Rule
from readings.alarms.rules import changing, scopes
from readings.alarms.rules.changing import create_rule
from readings.alarms.tests.rules import alarm_of, make_rule
from readings.ingest import refused_posts
from readings.ingest.refused_posts import Noted, Times, keep, refused_post
from readings.models import Rejection
from readings.tests.locks import wait_until_blocking
from readings.tests.logs import NOON
from readings.upkeep.maintenance import maintain

pytestmark = pytest.mark.django_db(transaction=True)

INGEST = "/api/v1/ingest"
# Texts that do not occur in other stored values.
NAME = "greenhouse-77"


def tables_with(*texts: str) -> list[str]:
    """ "table.column: value" for every column of every row that contains one of these texts."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                for column, value in zip(columns, row, strict=True):
                    found += [f"{table}.{column}: {value}" for text in texts if text in str(value)]
    for session in Session.objects.all():
        found += [f"session: {text}" for text in texts if text in str(session.get_decoded())]
    return found


def used() -> tuple[Device, list[str]]:
    """A device with every kind of stored trace, and the texts that identify it."""
    operator = staff_client("operator", *("devices.add_device", "devices.change_device", "devices.view_device"))
    fleet = client_with(FLEET_KEY)
    # Before it was registered.
    fleet.post(INGEST, {"device_id": NAME, "temperature": 1})
    fleet.post(f"{INGEST}/batch", [{"device_id": NAME, "temperature": 1}, {"device_id": NAME, "temperature": "warm"}])
    operator.post("/admin/devices/device/add/", {"device_id": NAME, "name": "Greenhouse"}, format="multipart")
    device = Device.objects.get(device_id=NAME)
    first = device.rotate_key(overlap=timedelta(0), now=timezone.now())
    own = client_with(first)
    own.post(INGEST, {"temperature": 21.5})
    own.post("/api/v1/realtime/tickets", {})
    # Refused posts: with its own key, by a gateway, with its id in a text, and with a key that begins like its own.
    own.post(INGEST, {"temperature": "warm"})
    own.post(INGEST, {"temperature": 1, "device_id": "mote-2"})
    own.post(INGEST, {f"About-{NAME}": 1})
    fleet.post(INGEST, {"device_id": NAME, "temperature": "warm"})
    client_with("tlm_other").post(INGEST, {f"x {NAME}": 1})
    client_with(key_hint(first) + "x" * 28).post(INGEST, {"temperature": 1})
    # In the console: changed, key rotated (with an overlap that has ended), deactivated, activated, viewed.
    base = f"/admin/devices/device/{device.pk}/"
    operator.post(f"{base}change/", {"name": "House 77", "is_active": "on"}, format="multipart")
    rotation = {"overlap": 3600, "replaced": fingerprint([Device.objects.get(pk=device.pk)])}
    operator.post(f"{base}rotate-key/", rotation, format="multipart")
    Device.objects.filter(pk=device.pk).update(retiring_key_expires_at=timezone.now())
    own.post(INGEST, {"temperature": 1})
    for action in ("deactivate", "activate"):
        chosen = {"action": action, "_selected_action": [str(device.pk)], "confirmed": digest([device])}
        operator.post("/admin/devices/device/", chosen, format="multipart")
        own.post(INGEST, {"temperature": 1})
    account = User.objects.get(username="operator")
    LogEntry.objects.log_actions(account.pk, [account], CHANGE, f"Looks after {NAME} and greenhouse-778.")
    # A sign-in from the device's page with a mistyped password.
    wrong = {"username": "operator", "password": "wrong", "next": f"/live/{NAME}/"}
    new_client().post(f"/admin/login/?next=/live/{NAME}/", wrong, format="multipart")
    maintain(now=timezone.now())
    # A rule that names it alone, one whose text names it, and an alarm of each.
    for rule in (make_rule(metric="temperature", above=20, devices=(NAME,)), make_rule(metric="x", above=1, text=NAME)):
        alarm_of(NAME, rule=rule)
    device.refresh_from_db()
    hashes = [device.api_key_hash, str(device.retiring_key_hash)]
    return device, [NAME, str(device.pk), device.pk.hex, key_hint(first), device.key_hint, *hashes]


def test_a_device_that_was_erased_is_in_no_table(other_device):
    _, texts = used()
    before = {line.partition(":")[0] for line in tables_with(*texts)}
    assert before >= {
        "devices_device.device_id",
        "devices_devicestate.device_id",
        "django_admin_log.object_repr",
        "django_admin_log.change_message",
        "readings_reading.device_id",
        "readings_rollup.device_id",
        "readings_rejection.device_id",
        "readings_rejection.key_hint",
        "readings_rejection.field",
        "realtime_ticket.key_hash",
        "alarms_alarm.device_id",
        "alarms_evaluationstate.device_id",
        "alarms_ruledevice.device_id",
        "alarms_rule.text",
    }
    assert not {place for place in before if place.startswith(("session", "axes_"))}
    client_with(other_device[1]).post(INGEST, {"temperature": "warm"})

    call_command("erase_device", NAME, "--with-device", "--yes", stdout=StringIO())

    left = [line for line in tables_with(*texts) if "greenhouse-778" not in line]
    assert left == []
    changes = list(LogEntry.objects.order_by("id").values_list("object_repr", "change_message"))
    assert changes[0][1] == "Looks after [erased] and greenhouse-778."
    assert changes[1:] == [("[erased]", "Erased a device with all its data.")]
    assert Rejection.objects.filter(device_id="mote-2", caller="device").exists()


def test_without_the_device_its_refused_posts_go_and_its_changes_stay():
    device, _ = used()

    call_command("erase_device", NAME, "--yes", stdout=StringIO())

    erased = ("readings_", "alarms_alarm", "alarms_evaluationstate")
    assert not [line for line in tables_with(NAME, device.key_hint) if line.startswith(erased)]
    assert Device.objects.get().device_id == NAME
    assert LogEntry.objects.filter(object_repr=NAME).count() >= 4


def test_what_a_process_still_has_in_memory_is_not_written_after_the_erasure(mote, other_device):
    noted = Noted()
    for refusal in (
        refused_post(caller="device", device_id="mote-1", address="10.0.0.1", status=422, code="a", detail="x"),
        refused_post(caller="fleet", device_id="mote-1", address="10.0.0.2", status=422, code="b", detail="x"),
        refused_post(caller="device", device_id="mote-2", address="10.0.0.3", status=422, code="c", detail="x"),
    ):
        noted.note(refusal, now=timezone.now())
    call_command("erase_device", "mote-1", "--with-device", "--yes", stdout=StringIO())

    keep(noted)

    assert tables_with("mote-1", "10.0.0.1") == []
    assert set(Rejection.objects.values_list("code", "device_id")) == {("b", ""), ("c", "mote-2")}


def erase_in_a_thread() -> None:
    try:
        call_command("erase_device", "mote-1", "--with-device", "--yes", stdout=StringIO())
    finally:
        connection.close()


def test_an_erasure_and_a_write_of_refused_posts_wait_for_each_other(mote, monkeypatch):
    """Erases the device after the write has found it, which is the latest possible moment."""
    refusal = refused_post(caller="device", device_id="mote-1", address="10.0.0.1", status=422, code="a", detail="x")
    row_of = refused_posts.row_of

    with ThreadPoolExecutor(1) as thread:
        erasures = []

        def meanwhile(*given):
            erasures.append(thread.submit(erase_in_a_thread))
            with pytest.raises(TimeoutError):
                erasures[0].result(0.5)
            return row_of(*given)

        monkeypatch.setattr(refused_posts, "row_of", meanwhile)
        keep({refusal: Times(timezone.now())})
        erasures[0].result(20)

    assert tables_with("mote-1", "10.0.0.1") == []


@pytest.mark.postgresql
def test_an_erasure_and_a_new_rule_wait_for_each_other(mote, monkeypatch):
    with ThreadPoolExecutor(1) as thread:
        erasures = []

        def meanwhile(*given):
            erasures.append(thread.submit(erase_in_a_thread))
            wait_until_blocking()
            name_devices(*given)

        name_devices = scopes.name_devices
        monkeypatch.setattr(changing, "name_devices", meanwhile)
        rule = create_rule({"kind": "threshold", "metric": "a", "above": 1.0, "name": "mote-1"}, ["mote-1"], now=NOON)
        erasures[0].result(20)

    assert not Rule.objects.existing().filter(pk=rule.pk).exists()
    assert tables_with("mote-1") == []

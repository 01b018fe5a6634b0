"""The figures about the fleet on the console's first page."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import AccountTag, Device, DeviceState, Tag
from devices.status import Status
from devices.tests.fixtures import EVERYTHING, staff_client
from readings import overview as overviews
from readings.models import MaintenanceRound
from readings.overview import overview
from readings.tests.logs import make_devices, new, store
from readings.upkeep import rounds
from readings.upkeep.maintenance import maintain
from readings.upkeep.rounds import note_round

pytestmark = pytest.mark.django_db


@pytest.fixture
def now():
    return timezone.now()


def test_it_counts_active_devices_by_status_and_inactive_ones_apart(now):
    for device_id, silent in (("a", 1), ("b", 150), ("c", 4000), ("d", 4000), ("e", None)):
        Device.objects.register(device_id=device_id)
        seen = None if silent is None else now - timedelta(seconds=silent)
        DeviceState.objects.filter(device_id=device_id).update(last_seen_at=seen)
    Device.objects.filter(device_id="d").update(is_active=False)
    found = overview(EVERYTHING, now=now)
    assert found.statuses == {Status.ONLINE: 1, Status.LATE: 1, Status.OFFLINE: 1, Status.NEVER: 1}
    assert (found.devices, found.inactive) == (5, 1)
    assert [device.device_id for device in found.gone] == ["c"]


def test_every_offline_device_is_listed_up_to_a_bound(now, monkeypatch):
    names = make_devices(12)
    DeviceState.objects.update(last_seen_at=now - timedelta(days=1))
    assert sorted(device.device_id for device in overview(EVERYTHING, now=now).gone) == names
    monkeypatch.setattr(overviews, "OFFLINE_LISTED", 3)
    assert len(overview(EVERYTHING, now=now).gone) == 3


def test_readings_per_minute_is_by_how_much_the_logs_have_grown(device, now):
    assert overview(EVERYTHING, now=now).per_minute is None
    note_round(now=now - timedelta(minutes=2), rolled_up=0, deleted=0, seconds=0.1)
    store([new(), new(), new()])
    found = overview(EVERYTHING, now=now)
    assert (found.per_minute, found.readings, found.waiting) == (1.5, 3, 3)


def test_it_says_how_much_is_sealed(device, now, admin_client):
    assert overview(EVERYTHING, now=now).sealed_percent == 0
    store([new(), new(), new()])
    DeviceState.objects.update(sealed_seq=2)
    found = overview(EVERYTHING, now=now)
    assert (found.sealed, found.sealed_percent) == (2, 66)
    assert "66 % sealed" in admin_client.get("/admin/").content.decode()


def test_storage_is_what_the_database_takes(now):
    storage = overview(EVERYTHING, now=now).storage
    assert storage is not None
    assert storage > 10_000


def test_who_does_not_see_every_device_does_not_see_the_size_of_all_readings(now, admin):
    admin.post("/api/v1/devices", {"device_id": "a", "tags": ["own"]})
    client = staff_client("limited", "devices.view_device", "readings.view_reading")
    assert "<dt>Storage</dt>" in client.get("/admin/").content.decode()
    AccountTag.objects.create(user=User.objects.get(username="limited"), tag=Tag.objects.get())
    assert "<dt>Storage</dt>" not in client.get("/admin/").content.decode()


def test_a_new_installation_has_half_an_hour_for_its_first_round(now):
    assert not overview(EVERYTHING, now=now).maintenance_is_late
    assert overview(EVERYTHING, now=now + timedelta(hours=1)).maintenance_is_late


@pytest.mark.django_db(transaction=True)
def test_a_round_of_maintenance_leaves_a_note(device, now):
    store([new(), new()])
    maintain(now=now)
    note = MaintenanceRound.objects.get()
    assert (note.rolled_up, note.logs_length) == (2, 2)
    found = overview(EVERYTHING, now=now + timedelta(seconds=5))
    assert found.maintained == note
    assert not found.maintenance_is_late
    assert overview(EVERYTHING, now=now + timedelta(hours=1)).maintenance_is_late


def test_the_last_rounds_alone_are_kept(monkeypatch, now):
    monkeypatch.setattr(rounds, "KEPT", 3)
    for n in range(6):
        note_round(now=now, rolled_up=n, deleted=0, seconds=0)
    assert list(MaintenanceRound.objects.order_by("id").values_list("rolled_up", flat=True)) == [3, 4, 5]


def test_it_never_asks_the_readings_and_costs_the_same_however_many_there_are(device, now):
    def statements():
        with CaptureQueriesContext(connection) as captured:
            overview(EVERYTHING, now=now)
        return [query["sql"] for query in captured.captured_queries]

    few = statements()
    store([new(device_id) for device_id in make_devices(50) for _ in range(5)])
    many = statements()
    assert len(many) == len(few) <= 11
    assert not [sql for sql in many if "readings_reading" in sql]

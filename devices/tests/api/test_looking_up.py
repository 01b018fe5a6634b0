from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device
from devices.tests.fixtures import problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/devices/mote-1"


def test_it_shows_all_there_is_to_know(admin, device):
    assert admin.get(URL).json() == {
        "id": str(device.id),
        "device_id": "mote-1",
        "name": "North window",
        "is_active": True,
        "created_at": device.created_at.isoformat().replace("+00:00", "Z"),
        "last_seen_at": None,
        "last_seq": 0,
        "status": "never",
        "report_interval": None,
        "tags": [],
        "location": "",
        "latitude": None,
        "longitude": None,
        "notes": "",
        "latest": None,
    }


def test_it_shows_what_the_device_sent_last(admin, as_device):
    as_device.post("/api/v1/ingest", {"temperature": 20})
    before = timezone.now()
    stored = as_device.post("/api/v1/ingest", {"temperature": 21.5, "rssi": -67}).json()

    shown = admin.get(URL).json()

    assert shown["latest"] == {
        "id": stored["id"],
        "seq": 2,
        "timestamp": stored["timestamp"],
        "temperature": 21.5,
        "rssi": -67,
    }
    assert shown["last_seq"] == 2
    assert shown["status"] == "online"
    assert before <= datetime.fromisoformat(shown["last_seen_at"]) <= timezone.now()


def test_the_latest_is_the_newest_by_time_and_not_by_arrival(admin, as_device):
    as_device.post("/api/v1/ingest", {"temperature": 20})
    as_device.post("/api/v1/ingest", {"temperature": 10, "age_seconds": 3600})

    shown = admin.get(URL).json()

    assert shown["latest"]["temperature"] == 20
    assert shown["last_seq"] == 2


def test_a_device_that_sends_old_readings_is_seen_all_the_same(admin, as_device):
    as_device.post("/api/v1/ingest", {"temperature": 10, "age_seconds": 86_400})

    assert admin.get(URL).json()["status"] == "online"


def test_a_device_sees_itself(admin, as_device):
    answer = as_device.get(URL)

    assert answer.status_code == 200
    # The notes are for people.
    assert answer.json() == admin.get(URL).json() | {"notes": None}


def test_another_device_is_none_at_all_to_a_device(as_device, as_other_device):
    there_is = problem(as_other_device.get(URL), 404)
    there_is_not = problem(as_other_device.get("/api/v1/devices/mote-99"), 404)

    del there_is["request_id"], there_is_not["request_id"]
    assert there_is == there_is_not


def test_an_inactive_device_can_be_looked_up(admin, device):
    Device.objects.update(is_active=False)

    assert admin.get(URL).json()["is_active"] is False


@pytest.mark.parametrize("device_id", ["mote-2", "MOTE-1", "mote-1%0A", "mote-1%00", "%C3%A4", "-", "a" * 65, "a b"])
def test_there_is_no_other_device(admin, device, device_id):
    assert problem(admin.get(f"/api/v1/devices/{device_id}"), 404)["code"] == "not_found"


def test_a_mac_address_needs_no_quoting(admin):
    Device.objects.register(device_id="aa:bb:cc:dd:ee:ff")

    assert admin.get("/api/v1/devices/aa:bb:cc:dd:ee:ff").json()["device_id"] == "aa:bb:cc:dd:ee:ff"
    assert admin.get("/api/v1/devices/aa%3Abb%3Acc%3Add%3Aee%3Aff").status_code == 200


def test_it_costs_the_same_however_long_the_log(admin, as_device):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(URL).status_code == 200
        return len(captured)

    as_device.post("/api/v1/ingest", {"temperature": 1})
    short = queries()
    as_device.post("/api/v1/ingest/batch", [{"temperature": value} for value in range(500)])

    assert queries() == short <= 2

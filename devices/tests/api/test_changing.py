from datetime import timedelta

import pytest
from django.utils import timezone

from devices.api.serializers import DeviceChangesSerializer
from devices.models import REPORT_INTERVAL_SECONDS_MAX, Device
from devices.tests.fixtures import client_with, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/devices/mote-1"
CHANGEABLE = {"name": "South window", "is_active": False, "report_interval": 30}


@pytest.mark.parametrize("field", CHANGEABLE)
def test_it_changes_one_thing_and_nothing_else(admin, device, field):
    before = admin.get(URL).json()

    response = admin.patch(URL, {field: CHANGEABLE[field]})

    assert response.status_code == 200
    assert response.json() == before | {field: CHANGEABLE[field]}
    assert admin.get(URL).json() == response.json()


def test_it_changes_several_at_once(admin, device):
    assert admin.patch(URL, CHANGEABLE).json().items() >= CHANGEABLE.items()


def test_changing_nothing_is_no_error(admin, device):
    before = admin.get(URL).json()

    assert admin.patch(URL, {}).json() == before


def test_null_gives_the_report_interval_back_to_the_server(admin, device):
    admin.patch(URL, {"report_interval": 30})

    assert admin.patch(URL, {"report_interval": None}).json()["report_interval"] is None


def test_a_name_can_be_taken_away(admin, device):
    assert admin.patch(URL, {"name": ""}).json()["name"] == ""


def test_the_key_stays(admin, device, as_device):
    admin.patch(URL, {"name": "South window"})

    assert as_device.get(URL).status_code == 200


def test_what_the_device_sends_meanwhile_is_not_overwritten(admin, device, as_device):
    stale = Device.objects.select_related("state").get()
    as_device.post("/api/v1/ingest", {"temperature": 20})
    stale.name = "South window"
    stale.save()

    shown = admin.patch(URL, {"report_interval": 30}).json()

    assert shown["last_seq"] == 1
    assert shown["last_seen_at"] is not None


def test_a_key_that_is_rotated_meanwhile_stays_rotated(admin, mote, monkeypatch):
    update = DeviceChangesSerializer.update

    def rotate_first(self, instance, validated_data):
        Device.objects.get().rotate_key(overlap=timedelta(0), now=timezone.now())
        return update(self, instance, validated_data)

    monkeypatch.setattr(DeviceChangesSerializer, "update", rotate_first)
    assert admin.patch(URL, {"name": "South window"}).json()["name"] == "South window"

    problem(client_with(mote[1]).get(URL), 401)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", None, "null"),
        ("name", 7, "invalid"),
        ("name", "a" * 256, "max_length"),
        ("name", "a\0b", "null_characters_not_allowed"),
        ("is_active", None, "null"),
        ("is_active", "false", "invalid"),
        ("is_active", 0, "invalid"),
        ("is_active", [], "invalid"),
        ("report_interval", 0, "min_value"),
        ("report_interval", REPORT_INTERVAL_SECONDS_MAX + 1, "max_value"),
        ("report_interval", "30", "invalid"),
        ("report_interval", True, "invalid"),
        ("device_id", "mote-2", "unknown_field"),
        ("api_key", "tlm_mine", "unknown_field"),
        ("last_seq", 0, "unknown_field"),
        ("status", "online", "unknown_field"),
    ],
)
def test_it_refuses_what_cannot_be(admin, device, field, value, code):
    before = admin.get(URL).json()

    (error,) = problem(admin.patch(URL, {field: value}), 422)["errors"]

    assert (error["field"], error["code"]) == (field, code)
    assert admin.get(URL).json() == before


def test_one_wrong_field_changes_none(admin, device):
    problem(admin.patch(URL, {"name": "South window", "report_interval": 0}), 422)

    assert admin.get(URL).json()["name"] == "North window"


@pytest.mark.parametrize("body", ["[]", "7", "null"])
def test_it_refuses_what_is_no_object(admin, device, body):
    (error,) = problem(admin.patch(URL, body, content_type="application/json"), 422)["errors"]
    assert error["field"] == ""


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_there_has_to_be_such_a_device(admin, device, method):
    problem(getattr(admin, method)("/api/v1/devices/mote-99"), 404)


def test_deleting_deactivates_and_answers_nothing(admin, device):
    response = admin.delete(URL)

    assert (response.status_code, response.content) == (204, b"")
    assert admin.get(URL).json()["is_active"] is False


def test_the_log_of_a_deleted_device_stays(admin, as_device):
    as_device.post("/api/v1/ingest", {"temperature": 21.5})
    admin.delete(URL)

    assert admin.get(URL).json()["last_seq"] == 1
    assert [reading["temperature"] for reading in admin.get(f"{URL}/history").json()["results"]] == [21.5]
    assert admin.get(f"{URL}/latest").json()["temperature"] == 21.5


def test_the_key_of_a_deleted_device_is_refused_at_once(admin, as_device):
    admin.delete(URL)

    problem(as_device.get(URL), 401)
    problem(as_device.post("/api/v1/ingest", {"temperature": 21.5}), 401)
    assert admin.get(URL).json()["last_seq"] == 0


def test_deleting_touches_no_other_device(admin, device, as_other_device):
    admin.delete(URL)

    assert as_other_device.get("/api/v1/devices/mote-2").status_code == 200


def test_deleting_again_changes_nothing(admin, device):
    assert [admin.delete(URL).status_code for _ in range(2)] == [204, 204]


def test_a_device_can_be_brought_back_with_its_key_and_its_log(admin, as_device):
    as_device.post("/api/v1/ingest", {"temperature": 21.5})
    admin.delete(URL)

    admin.patch(URL, {"is_active": True})

    assert as_device.post("/api/v1/ingest", {"temperature": 22}).json()["seq"] == 2

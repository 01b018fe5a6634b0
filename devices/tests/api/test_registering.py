import hashlib

import pytest

from devices.models import Device, DeviceState
from devices.tests.fixtures import client_with, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/devices"


def test_it_answers_the_device_and_its_key(admin):
    response = admin.post(URL, {"device_id": "aa:bb:cc:dd:ee:ff", "name": "Roof", "report_interval": 30})

    assert response.status_code == 201
    body = response.json()
    assert body.keys() == {
        *("id", "device_id", "name", "is_active", "created_at", "report_interval"),
        *("tags", "location", "latitude", "longitude", "notes"),
        *("last_seen_at", "last_seq", "status", "api_key"),
    }
    assert body["device_id"] == "aa:bb:cc:dd:ee:ff"
    assert body["name"] == "Roof"
    assert body["report_interval"] == 30
    assert body["is_active"] is True
    assert body["status"] == "never"
    assert body["last_seq"] == 0
    assert body["last_seen_at"] is None
    assert body["api_key"].startswith("tlm_")
    assert Device.objects.get().name == "Roof"


def test_a_device_needs_no_more_than_an_id(admin):
    body = admin.post(URL, {"device_id": "mote-9"}).json()

    assert body["name"] == ""
    assert body["report_interval"] is None


def test_a_new_device_has_an_empty_log(admin):
    admin.post(URL, {"device_id": "mote-9"})

    assert DeviceState.objects.get(device__device_id="mote-9").last_seq == 0


def test_the_key_works_at_once(admin):
    key = admin.post(URL, {"device_id": "mote-9"}).json()["api_key"]

    assert client_with(key).get(f"{URL}/mote-9").status_code == 200


def test_every_device_gets_a_key_of_its_own(admin):
    keys = {admin.post(URL, {"device_id": f"mote-{number}"}).json()["api_key"] for number in range(5)}

    assert len(keys) == 5
    assert all(len(key) == 36 for key in keys)


def test_the_key_is_shown_this_once(admin):
    key = admin.post(URL, {"device_id": "mote-9"}).json()["api_key"]

    for later in (
        admin.get(f"{URL}/mote-9"),
        admin.get(URL),
        admin.patch(f"{URL}/mote-9", {"name": "Roof"}),
        client_with(key).get(f"{URL}/mote-9"),
    ):
        assert later.status_code == 200
        assert b"api_key" not in later.content
        assert key[len("tlm_") :] not in later.content.decode()


def test_only_the_sha256_of_the_key_is_stored(admin):
    key = admin.post(URL, {"device_id": "mote-9"}).json()["api_key"]

    stored = Device.objects.values().get()
    assert stored["api_key_hash"] == hashlib.sha256(key.encode()).hexdigest()
    assert stored["key_hint"] == key[:8]
    assert key not in map(str, stored.values())


def test_it_refuses_a_device_id_that_is_taken(admin, device):
    assert problem(admin.post(URL, {"device_id": "mote-1"}), 409)["code"] == "device_id_taken"
    assert Device.objects.get().name == "North window"


def test_the_id_of_an_inactive_device_is_taken_too(admin, device):
    admin.delete(f"{URL}/mote-1")

    problem(admin.post(URL, {"device_id": "mote-1"}), 409)


def test_ids_that_differ_in_case_are_two_devices(admin, device):
    assert admin.post(URL, {"device_id": "MOTE-1"}).status_code == 201

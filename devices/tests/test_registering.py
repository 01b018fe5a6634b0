import pytest

from devices.models import Device
from devices.tests.fixtures import problem

pytestmark = pytest.mark.django_db


def test_it_answers_the_device_and_its_key(admin):
    response = admin.post("/api/v1/devices", {"device_id": "aa:bb:cc:dd:ee:ff", "name": "Roof", "report_interval": 30})

    assert response.status_code == 201
    body = response.json()
    assert body["device_id"] == "aa:bb:cc:dd:ee:ff"
    assert body["status"] == "never"
    assert body["api_key"].startswith("tlm_")
    assert Device.objects.get().name == "Roof"


def test_it_refuses_a_device_id_that_is_taken(admin, device):
    assert problem(admin.post("/api/v1/devices", {"device_id": "mote-1"}), 409)["code"] == "device_id_taken"
    assert Device.objects.get().name == "North window"

"""A gateway's batch: readings of many devices under a fleet key."""

from uuid import uuid4

import pytest

from readings.models import Reading
from readings.tests.logs import make_devices

pytestmark = pytest.mark.django_db

BATCH = "/api/v1/ingest/batch"


def test_a_gateway_writes_for_many_devices_at_once(fleet):
    device_ids = make_devices(300)
    batch = [{"device_id": name, "temperature": 1} for name in device_ids for _ in range(2)]

    response = fleet.post(BATCH, batch)

    assert response.status_code == 201
    answer = response.json()
    assert answer["accepted"] == 600
    assert sorted(answer["devices"], key=lambda seq_range: seq_range["device_id"]) == [
        {"device_id": name, "first_seq": 1, "last_seq": 2} for name in device_ids
    ]


def test_of_a_gateways_batch_the_readings_of_unknown_and_inactive_devices_are_rejected(fleet, device, other_device):
    type(device).objects.filter(device_id="mote-2").update(is_active=False)
    batch = [{"device_id": name, "temperature": 1} for name in ("mote-1", "nobody", "mote-2", "mote-1")]

    response = fleet.post(BATCH, [*batch, {"temperature": 1}])

    assert response.status_code == 207
    assert [(r["index"], r["field"], r["code"]) for r in response.json()["rejected"]] == [
        (1, "device_id", "unknown_device"),
        (2, "device_id", "inactive_device"),
        (4, "device_id", "required"),
    ]
    assert response.json()["devices"] == [{"device_id": "mote-1", "first_seq": 1, "last_seq": 2}]


def test_one_id_for_two_devices_is_stored_for_both(fleet, device, other_device):
    batch = [{"device_id": name, "id": str(uuid4()), "temperature": 1} for name in ("mote-1", "mote-2")]
    batch[1]["id"] = batch[0]["id"]

    for accepted, duplicates in ((2, 0), (0, 2)):
        response = fleet.post(BATCH, batch)
        assert response.status_code == 201
        document = response.json()
        assert (document["accepted"], document["duplicates"], document["rejected"]) == (accepted, duplicates, [])
    stored = [(reading.device_id, reading.seq) for reading in Reading.objects.order_by("device_id")]
    assert stored == [("mote-1", 1), ("mote-2", 1)]

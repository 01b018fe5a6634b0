"""`GET /api/v1/devices/{device_id}/latest`: the reading that is newest by its own time."""

import random

import pytest

from devices.tests.fixtures import client_with, problem
from readings.models import Reading
from readings.tests.logs import at, make_devices, new, store, store_at

pytestmark = pytest.mark.django_db

LATEST = "/api/v1/devices/mote-1/latest"


def test_it_shows_the_reading_and_whose_it_is(admin, device):
    store([new(temperature=21.5, extra={"rssi": -67})])
    assert admin.get(LATEST).json() == {
        "device_id": "mote-1",
        "id": str(Reading.objects.get().id),
        "seq": 1,
        "timestamp": "2026-05-09T12:00:00.000000Z",
        "temperature": 21.5,
        "rssi": -67,
        "values": {
            "temperature": {"value": 21.5, "timestamp": "2026-05-09T12:00:00.000000Z", "seq": 1},
            "rssi": {"value": -67, "timestamp": "2026-05-09T12:00:00.000000Z", "seq": 1},
        },
    }


def test_it_shows_of_each_metric_the_newest_value(admin, device):
    store([new(timestamp=at(0.5), temperature=21.0, extra={"pm": 3.5})])
    store([new(timestamp=at(10), temperature=22.0)])
    store([new(timestamp=at(5), temperature=19.0, humidity=40.0, extra={"rssi": -67})])

    answer = admin.get(LATEST).json()

    assert (answer["seq"], answer["temperature"], "humidity" in answer) == (2, 22.0, False)
    assert answer["values"] == {
        "temperature": {"value": 22.0, "timestamp": "2026-05-09T12:00:10.000000Z", "seq": 2},
        "humidity": {"value": 40.0, "timestamp": "2026-05-09T12:00:05.000000Z", "seq": 3},
        "pm": {"value": 3.5, "timestamp": "2026-05-09T12:00:00.500000Z", "seq": 1},
        "rssi": {"value": -67, "timestamp": "2026-05-09T12:00:05.000000Z", "seq": 3},
    }


def test_a_device_without_readings_has_no_latest(admin, device, other_device):
    store([new("mote-2")])
    assert problem(admin.get(LATEST), 404)["code"] == "no_readings"


def test_a_late_arrival_is_not_the_latest(admin, device):
    store_at(at(0), at(10))
    store_at(at(5))
    assert admin.get(LATEST).json()["seq"] == 2


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_newest_by_time_then_by_number_however_they_came(admin, device, seed):
    chance = random.Random(seed)
    for _ in range(6):
        store_at(*(at(chance.randrange(8)) for _ in range(chance.randrange(1, 5))))
        newest = max(Reading.objects.all(), key=lambda reading: (reading.timestamp, reading.seq))
        assert admin.get(LATEST).json()["seq"] == newest.seq
        assert admin.get("/api/v1/devices/mote-1").json()["latest"]["seq"] == newest.seq
        assert admin.get("/api/v1/devices/mote-1/history", {"limit": 1}).json()["results"][0]["seq"] == newest.seq


def test_a_list_of_devices_shows_each_ones_latest_in_as_many_queries_as_one(
    admin, db, django_assert_max_num_queries, django_assert_num_queries
):
    device_ids = make_devices(30)
    with django_assert_max_num_queries(4) as one:
        admin.get("/api/v1/devices", {"limit": 1})
    store(new(name, temperature=float(n), timestamp=at(n)) for n, name in enumerate(device_ids[:-1]))
    store(new(name, temperature=-1.0, timestamp=at(-1)) for name in device_ids[:-1])

    with django_assert_num_queries(len(one)):
        results = admin.get("/api/v1/devices").json()["results"]

    assert [r["latest"] and r["latest"]["temperature"] for r in results] == [*range(29), None]


def test_a_device_sees_its_own_latest_and_no_other(as_device, as_other_device, fleet, device):
    store_at(at(0))
    assert as_device.get(LATEST).status_code == 200
    problem(as_other_device.get(LATEST), 404)
    problem(fleet.get(LATEST), 403)
    problem(client_with(None).get(LATEST), 401)

"""`POST /api/v1/ingest`: one reading."""

from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from devices.tests.fixtures import client_with, problem
from readings.models import Reading
from readings.tests.logs import post_raw, state_of

pytestmark = pytest.mark.django_db

INGEST = "/api/v1/ingest"
ID = "0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b"


def test_it_stores_a_reading_and_says_where(as_device, device):
    before = timezone.now()
    response = as_device.post(INGEST, {"temperature": 21.5, "humidity": "48", "rssi": -67})

    assert response.status_code == 201
    reading = Reading.objects.get()
    assert response.json() == {
        "id": str(reading.id),
        "device_id": "mote-1",
        "seq": 1,
        "timestamp": reading.timestamp.isoformat().replace("+00:00", "Z"),
    }
    assert before <= reading.timestamp <= timezone.now()
    assert (reading.temperature, reading.humidity, reading.voltage, reading.extra) == (21.5, 48.0, None, {"rssi": -67})


def test_an_id_that_the_server_gives_is_a_uuid_of_version_7(as_device):
    assert UUID(as_device.post(INGEST, {"temperature": 1}).json()["id"]).version == 7


def test_it_numbers_the_readings_of_a_device(as_device, as_other_device):
    assert [as_device.post(INGEST, {"temperature": 1}).json()["seq"] for _ in range(3)] == [1, 2, 3]
    assert as_other_device.post(INGEST, {"temperature": 1}).json()["seq"] == 1


def test_the_same_id_again_is_answered_with_what_is_stored(as_device):
    first = as_device.post(INGEST, {"id": ID, "temperature": 1})
    again = as_device.post(INGEST, {"id": ID.upper(), "temperature": 2, "age_seconds": 60})

    assert first.status_code == 201
    assert first.json()["id"] == ID
    assert again.status_code == 200
    assert again.json() == first.json() | {"duplicate": True}
    assert Reading.objects.get().temperature == 1


def test_the_same_id_of_another_device_is_another_reading(as_device, as_other_device):
    as_device.post(INGEST, {"id": ID, "temperature": 1})

    for status, duplicate in ((201, {}), (200, {"duplicate": True})):
        response = as_other_device.post(INGEST, {"id": ID, "temperature": 2})
        assert response.status_code == status
        document = response.json()
        assert document.pop("timestamp")
        assert document == {"id": ID, "device_id": "mote-2", "seq": 1} | duplicate
    found = [(reading.device_id, reading.temperature) for reading in Reading.objects.order_by("device_id")]
    assert found == [("mote-1", 1), ("mote-2", 2)]


def test_it_says_what_it_ignored(as_device):
    payload = {"temperature": 1, "timestamp": "2020-01-01T00:00:00Z", "ts": 1778328000000, "seq": 99}

    answer = as_device.post(INGEST, payload).json()

    assert sorted(answer["ignored"]) == ["seq", "timestamp", "ts"]
    assert "age_seconds" in answer["hint"]
    assert answer["seq"] == 1
    assert timezone.now() - datetime.fromisoformat(answer["timestamp"]) < timedelta(minutes=1)
    assert Reading.objects.get().extra == {}


def test_an_ignored_seq_alone_needs_no_hint(as_device):
    answer = as_device.post(INGEST, {"temperature": 1, "seq": 99}).json()
    assert (answer["ignored"], "hint" in answer) == (["seq"], False)


def test_a_repeated_reading_says_what_it_ignored_too(as_device):
    for status in (201, 200):
        response = as_device.post(INGEST, {"id": ID, "temperature": 1, "created_at": "yesterday", "big": 2**53 + 1})
        assert response.status_code == status
        assert (response.json()["ignored"], response.json()["rounded"]) == (["created_at"], ["big"])


def test_it_names_the_integers_that_it_rounded(as_device):
    answer = as_device.post(INGEST, {"temperature": 9007199254740993, "counter": 2**64 + 1, "fits": 2**64}).json()
    assert answer["rounded"] == ["temperature", "counter"]
    assert Reading.objects.get().extra == {"counter": 2.0**64, "fits": 2.0**64}


def test_it_names_nothing_if_all_is_stored_as_sent(as_device):
    answer = as_device.post(INGEST, {"temperature": 0.1, "counter": 2**53, "text": "9007199254740992"}).json()
    assert answer.keys() == {"id", "device_id", "seq", "timestamp"}


def test_the_age_dates_the_reading_but_the_receipt_says_when_the_device_was_seen(as_device, device):
    before = timezone.now()
    as_device.post(INGEST, {"temperature": 1, "age_seconds": 86_400})

    assert Reading.objects.get().timestamp < before - timedelta(hours=23)
    seen = state_of().last_seen_at
    assert seen is not None
    assert before <= seen <= timezone.now()


def test_a_repeated_reading_counts_as_a_sign_of_life(as_device, device):
    as_device.post(INGEST, {"id": ID, "temperature": 1})
    before = timezone.now()
    as_device.post(INGEST, {"id": ID, "temperature": 1})

    seen = state_of().last_seen_at
    assert seen is not None
    assert seen >= before


def test_of_a_name_that_stands_twice_the_last_value_counts(as_device):
    assert post_raw(as_device, INGEST, '{"temperature": 1, "rssi": -1, "temperature": 2}').status_code == 201
    assert Reading.objects.get().temperature == 2


def test_a_device_may_name_itself(as_device):
    assert as_device.post(INGEST, {"device_id": "mote-1", "temperature": 1}).status_code == 201


def test_a_device_may_not_write_for_another(as_device, other_device):
    document = problem(as_device.post(INGEST, {"device_id": "mote-2", "temperature": 1}), 403)

    assert document["code"] == "other_device"
    assert not Reading.objects.exists()


def test_a_fleet_key_writes_for_the_device_it_names(fleet, device):
    answer = fleet.post(INGEST, {"device_id": "mote-1", "temperature": 1})

    assert answer.status_code == 201
    assert (answer.json()["device_id"], answer.json()["seq"]) == ("mote-1", 1)


@pytest.mark.parametrize(
    ("payload", "code"),
    [({}, "required"), ({"device_id": None}, "required"), ({"device_id": "nobody"}, "unknown_device")],
)
def test_a_fleet_key_has_to_name_a_registered_device(fleet, device, payload, code):
    document = problem(fleet.post(INGEST, {"temperature": 1} | payload), 422)
    assert [(error["field"], error["code"]) for error in document["errors"]] == [("device_id", code)]


def test_a_fleet_key_cannot_write_for_an_inactive_device(fleet, device):
    type(device).objects.update(is_active=False)

    assert problem(fleet.post(INGEST, {"device_id": "mote-1", "temperature": 1}), 403)["code"] == "inactive_device"
    assert not Reading.objects.exists()
    assert state_of().last_seen_at is None


def test_the_key_of_an_inactive_device_is_refused(as_device, device):
    type(device).objects.update(is_active=False)
    problem(as_device.post(INGEST, {"temperature": 1}), 401)


@pytest.mark.parametrize("path", [INGEST, f"{INGEST}/batch"])
def test_an_unknown_key_is_refused_before_the_body_is_looked_at(db, path):
    for client in (client_with(None), client_with("wrong"), client_with("")):
        response = post_raw(client, path, "{broken")
        problem(response, 401)
        assert response["WWW-Authenticate"]


@pytest.mark.parametrize("path", [INGEST, f"{INGEST}/batch"])
def test_an_administrator_writes_no_readings(admin, device, path):
    problem(admin.post(path, {"device_id": "mote-1", "temperature": 1}), 403)
    assert not Reading.objects.exists()


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete"])
@pytest.mark.parametrize("path", [INGEST, f"{INGEST}/batch"])
def test_it_takes_only_posts(as_device, method, path):
    response = getattr(as_device, method)(path)
    problem(response, 405)
    assert "POST" in response["Allow"]


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_it_refuses_a_body_that_does_not_say_it_is_json(as_device, content_type):
    problem(post_raw(as_device, INGEST, '{"temperature": 1}', content_type), 415)
    assert not Reading.objects.exists()


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json;"])
def test_it_takes_every_spelling_of_the_json_media_type(as_device, content_type):
    assert post_raw(as_device, INGEST, '{"temperature": 1}', content_type).status_code == 201


def test_malformed_json_is_a_bad_request(as_device):
    assert problem(post_raw(as_device, INGEST, '{"temperature": 1'), 400)["code"] == "malformed"


def test_an_invalid_value_is_named_with_its_field(as_device):
    document = problem(as_device.post(INGEST, {"temperature": "warm"}), 422)
    assert document["code"] == "invalid"
    assert document["errors"] == [
        {"field": "temperature", "code": "not_a_number", "detail": "The value is text, not a number."}
    ]


def test_a_metric_may_have_any_name_and_its_error_names_it(as_device):
    document = problem(as_device.post(INGEST, {"non_field_errors": "many"}), 422)
    assert document["errors"][0]["field"] == "non_field_errors"


def test_a_trailing_slash_changes_nothing(as_device):
    assert as_device.post(f"{INGEST}/", {"temperature": 1}).status_code == 201
    assert as_device.post(f"{INGEST}/batch/", [{"temperature": 1}]).status_code == 201

"""`POST /api/v1/ingest/batch`: valid readings are stored, invalid ones are listed."""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from devices.tests.fixtures import problem
from readings.models import Reading
from readings.tests.logs import post_raw, state_of

pytestmark = pytest.mark.django_db

BATCH = "/api/v1/ingest/batch"


@pytest.fixture
def seqs():
    return lambda device_id="mote-1": list(
        Reading.objects.filter(device=device_id).order_by("seq").values_list("seq", flat=True)
    )


@pytest.mark.parametrize("wrap", [list, lambda readings: {"readings": readings}])
def test_it_stores_every_reading_of_a_batch(as_device, device, seqs, wrap):
    before = timezone.now()
    response = as_device.post(BATCH, wrap([{"temperature": 1}, {"rssi": -67}, {"humidity": "40"}]))

    assert response.status_code == 201
    answer = response.json()
    server_time = datetime.fromisoformat(answer.pop("server_time"))
    assert before <= server_time <= timezone.now()
    assert answer == {
        "accepted": 3,
        "duplicates": 0,
        "rejected": [],
        "rejected_count": 0,
        "devices": [{"device_id": "mote-1", "first_seq": 1, "last_seq": 3}],
    }
    assert seqs() == [1, 2, 3]
    assert [r.temperature for r in Reading.objects.order_by("seq")] == [1, None, None]


def test_the_server_time_is_when_readings_without_an_age_are_dated(as_device):
    answer = as_device.post(BATCH, [{"temperature": 1}, {"temperature": 2, "age_seconds": 60}]).json()

    received_at = datetime.fromisoformat(answer["server_time"])
    assert [r.timestamp for r in Reading.objects.order_by("seq")] == [received_at, received_at - timedelta(minutes=1)]
    assert state_of().last_seen_at == received_at


def test_a_later_batch_goes_on_where_the_log_ends(as_device):
    as_device.post(BATCH, [{"temperature": 1}] * 2)
    answer = as_device.post(BATCH, [{"temperature": 1}] * 3).json()
    assert answer["devices"] == [{"device_id": "mote-1", "first_seq": 3, "last_seq": 5}]


def test_it_rejects_what_is_wrong_and_stores_the_rest(as_device, other_device):
    batch = [
        {"temperature": 1},
        {"temperature": "warm"},
        {},
        "text",
        {"temperature": 2, "device_id": "mote-2"},
        {"temperature": 3, "age_seconds": -1},
        {"temperature": 4},
    ]

    response = as_device.post(BATCH, batch)

    assert response.status_code == 207
    answer = response.json()
    assert (answer["accepted"], answer["rejected_count"]) == (2, 5)
    assert [(r["index"], r["field"], r["code"]) for r in answer["rejected"]] == [
        (1, "temperature", "not_a_number"),
        (2, "", "no_metrics"),
        (3, "", "not_an_object"),
        (4, "device_id", "other_device"),
        (5, "age_seconds", "out_of_range"),
    ]
    assert all(rejected["detail"] for rejected in answer["rejected"])
    assert answer["devices"] == [{"device_id": "mote-1", "first_seq": 1, "last_seq": 2}]
    assert [r.temperature for r in Reading.objects.order_by("seq")] == [1, 4]


def test_a_batch_without_a_valid_reading_is_refused_with_every_error_named(as_device, device):
    document = problem(as_device.post(BATCH, [{"temperature": True}, {}]), 422)

    assert document["errors"] == [
        {"field": "0.temperature", "code": "not_a_number", "detail": "The value is not a number."},
        {"field": "1", "code": "no_metrics", "detail": "A reading needs at least one metric."},
    ]
    assert [(r["index"], r["field"], r["code"]) for r in document["rejected"]] == [
        (0, "temperature", "not_a_number"),
        (1, "", "no_metrics"),
    ]
    assert (document["accepted"], document["duplicates"], document["rejected_count"]) == (0, 0, 2)
    assert document["devices"] == []
    assert datetime.fromisoformat(document["server_time"]) <= timezone.now()
    assert state_of().last_seen_at is None


@pytest.mark.parametrize("valid", [0, 1])
def test_it_lists_100_rejections_and_counts_all(as_device, valid):
    response = as_device.post(BATCH, [{"temperature": None}] * 150 + [{"temperature": 1}] * valid)

    assert response.status_code == (207 if valid else 422)
    answer = response.json()
    assert [rejected["index"] for rejected in answer["rejected"]] == list(range(100))
    assert answer["rejected_count"] == 150


def test_an_id_that_stands_twice_in_a_batch_is_stored_once(as_device):
    first, second = str(uuid4()), str(uuid4())
    batch = [{"id": name, "temperature": n} for n, name in enumerate([first, second, first, second.upper(), first])]

    response = as_device.post(BATCH, batch)

    assert response.status_code == 201
    answer = response.json()
    assert (answer["accepted"], answer["duplicates"], answer["rejected_count"]) == (2, 3, 0)
    assert answer["devices"] == [{"device_id": "mote-1", "first_seq": 1, "last_seq": 2}]
    assert [(str(r.id), r.temperature) for r in Reading.objects.order_by("seq")] == [(first, 0), (second, 1)]


def test_of_a_batch_sent_again_only_what_is_new_is_stored(as_device, seqs):
    ids = [str(uuid4()) for _ in range(5)]
    as_device.post(BATCH, [{"id": name, "temperature": 1} for name in ids[:3]])

    response = as_device.post(BATCH, [{"id": name, "temperature": 1} for name in reversed(ids)])

    assert response.status_code == 201
    answer = response.json()
    assert (answer["accepted"], answer["duplicates"]) == (2, 3)
    assert answer["devices"] == [{"device_id": "mote-1", "first_seq": 4, "last_seq": 5}]
    assert seqs() == [1, 2, 3, 4, 5]


def test_a_batch_of_duplicates_alone_is_no_error(as_device, seqs):
    batch = [{"id": str(uuid4()), "temperature": 1}]
    as_device.post(BATCH, batch)

    response = as_device.post(BATCH, batch)

    assert response.status_code == 201
    answer = response.json()
    assert (answer["accepted"], answer["duplicates"], answer["devices"]) == (0, 1, [])
    assert seqs() == [1]


def test_it_takes_10_000_readings_and_not_one_more(as_device, device):
    batch = json.dumps([{"temperature": 1}] * 10_000)

    assert post_raw(as_device, BATCH, batch).json()["accepted"] == 10_000
    document = problem(post_raw(as_device, BATCH, batch[:-1] + ',{"temperature": 1}]'), 422)

    assert document["errors"][0]["code"] == "batch_size"
    assert Reading.objects.count() == state_of().last_seq == 10_000


@pytest.mark.parametrize("batch", [[], {"readings": []}])
def test_it_refuses_an_empty_batch(as_device, batch):
    assert problem(as_device.post(BATCH, batch), 422)["errors"][0]["code"] == "batch_size"


@pytest.mark.parametrize(
    "body", [{}, {"temperature": 1}, {"readings": {}}, {"readings": [{"rssi": 1}], "more": 1}, 5, "x"]
)
def test_it_refuses_what_is_no_batch(as_device, body):
    assert problem(as_device.post(BATCH, body), 422)["errors"][0]["code"] == "not_a_batch"
    assert not Reading.objects.exists()


@pytest.mark.parametrize("mad", ["1e999", "-1e999", "1" + "0" * 400, "1e301"])
def test_one_mad_reading_is_rejected_alone(as_device, mad):
    body = f'[{{"temperature": 20}}, {{"temperature": {mad}}}, {{"temperature": 21}}]'

    response = post_raw(as_device, BATCH, body)

    assert response.status_code == 207
    assert [(r["index"], r["field"], r["code"]) for r in response.json()["rejected"]] == [
        (1, "temperature", "out_of_range")
    ]
    assert [r.temperature for r in Reading.objects.order_by("seq")] == [20, 21]


def test_it_says_once_what_it_ignored(as_device, seqs):
    readings = [{"temperature": 1, name: 5} for name in ("ts", "timestamp", "time", "ts", "seq")] * 2
    answer = as_device.post(BATCH, readings).json()
    assert answer["ignored"] == ["seq", "time", "timestamp", "ts"]
    assert "age_seconds" in answer["hint"]
    assert seqs() == list(range(1, 11))


def test_it_names_each_rounded_metric_once(as_device):
    readings = [{"pulses": 2**53 + 1}, {"pulses": 2**54 + 1, "energy": "9007199254740993"}, {"fits": 2**54}]
    answer = as_device.post(BATCH, readings).json()
    assert answer["rounded"] == ["energy", "pulses"]
    assert answer.keys().isdisjoint({"ignored", "hint"})


def test_it_names_nothing_of_a_reading_that_is_not_stored(as_device):
    big = 2**53 + 1
    answer = as_device.post(
        BATCH, [{"fine": 1}, {"a": big, "ts": 1, "device_id": "mote-2"}, {"b": big, "c": "x"}]
    ).json()
    assert (answer["accepted"], answer["rejected_count"]) == (1, 2)
    assert answer.keys().isdisjoint({"ignored", "hint", "rounded"})


def test_the_list_of_rounded_metrics_is_bounded(as_device):
    readings = [{f"m{place * 30 + n:03}": 2**53 + 1 for n in range(30)} for place in range(5)]
    assert as_device.post(BATCH, readings).json()["rounded"] == [f"m{n:03}" for n in range(100)]


def test_a_reading_with_nothing_but_times_is_rejected_with_the_way_to_date_it(as_device):
    answer = as_device.post(BATCH, [{"temperature": 1}, {"ts": 1778328000, "created_at": "now"}]).json()
    (rejection,) = answer["rejected"]
    assert rejection["code"] == "no_metrics"
    assert "ts, created_at" in rejection["detail"]
    assert "age_seconds" in rejection["detail"]

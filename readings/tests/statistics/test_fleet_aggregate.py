"""`GET /api/v1/aggregate`: statistics of several devices."""

import csv
import io
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, DeviceState, DeviceTag, Tag
from devices.tests.fixtures import problem
from readings.history import parameters
from readings.statistics import aggregation
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import at, make_devices, new, store
from readings.upkeep.rollups import roll_up

pytestmark = pytest.mark.django_db

AGGREGATE = "/api/v1/aggregate"
HOUR = {"start": at(0).isoformat(), "end": at(3600).isoformat()}


@pytest.fixture
def motes(device, other_device):
    store([new(timestamp=at(60), temperature=20.0, extra={"co2": 400}), new(timestamp=at(1900), temperature=22.0)])
    store([new("mote-2", at(70), temperature=10.0), new("mote-2", at(4000), temperature=99.0)])


def ask(client: Any, *device_ids: str, **parameters: str) -> dict[str, Any]:
    response = client.get(AGGREGATE, HOUR | {"device_id": device_ids} | parameters)
    assert response.status_code == 200, response.content
    return dict(response.json())


def test_it_has_the_statistics_of_each_device_in_the_order_asked(admin, motes):
    answer = ask(admin, "mote-2", "mote-1", metrics="temperature")

    assert answer == {
        "start": "2026-05-09T12:00:00.000000Z",
        "end": "2026-05-09T13:00:00.000000Z",
        "devices": [
            {
                "device_id": "mote-2",
                "metrics": {"temperature": {"count": 1, "min": 10, "max": 10, "avg": 10, "sum": 10}},
            },
            {
                "device_id": "mote-1",
                "metrics": {"temperature": {"count": 2, "min": 20, "max": 22, "avg": 21, "sum": 42}},
            },
        ],
    }


def test_buckets_are_the_same_for_all_devices(admin, motes):
    answer = ask(admin, "mote-1", "mote-2", bucket="30m", fill="null", metrics="temperature")

    assert (answer["bucket"], answer["tz"]) == ("30m", "UTC")
    starts = [[bucket["start"] for bucket in device["buckets"]] for device in answer["devices"]]
    assert starts == [["2026-05-09T12:00:00.000000Z", "2026-05-09T12:30:00.000000Z"]] * 2
    assert [b["metrics"]["temperature"]["count"] for d in answer["devices"] for b in d["buckets"]] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    "bucket", [{}, {"bucket": "10m"}, {"bucket": "auto"}, {"bucket": "1d", "tz": "Asia/Kathmandu"}]
)
def test_each_device_has_what_its_own_aggregate_gives(admin, motes, bucket):
    roll_up(HOURS)
    DeviceState.objects.filter(device_id="mote-2").update(rolled_up_minutes_seq=0)
    roll_up(MINUTES)
    store([new("mote-2", at(1000), temperature=-5.0, extra={"co2": 1000})])

    answer = ask(admin, "mote-1", "mote-2", **bucket)

    for device in answer["devices"]:
        alone = admin.get(f"/api/v1/devices/{device['device_id']}/aggregate", HOUR | bucket).json()
        key = "buckets" if bucket else "metrics"
        assert device == {"device_id": device["device_id"], key: alone[key]}


@pytest.mark.one_database("each device has a statement")
def test_devices_with_the_same_plan_are_one_statement_however_many_they_are(admin):
    names = make_devices(30)
    store(new(name, at(n)) for n, name in enumerate(names))

    def queries(*asked: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            answer = ask(admin, *asked, bucket="5m")
        assert [device["device_id"] for device in answer["devices"]] == list(asked)
        assert all(device["buckets"] for device in answer["devices"])
        return len(captured)

    assert queries(*names) == queries(*names[:2]) == 2


def test_in_a_distributed_database_each_device_has_a_statement(admin, five_shards):
    """Citus refuses those about devices of several shards."""
    names = make_devices(6)
    store(new(name, at(60 * n), temperature=n) for n, name in enumerate(names * 3))
    roll_up(HOURS)

    with CaptureQueriesContext(connection) as captured:
        answer = ask(admin, *names, bucket="30m")

    named = [{name for name in names if name in query["sql"]} for query in captured.captured_queries]
    assert [found for found in named if len(found) == 1] == [{name} for name in names]
    for device in answer["devices"]:
        alone = admin.get(f"/api/v1/devices/{device['device_id']}/aggregate", HOUR | {"bucket": "30m"}).json()
        assert device["buckets"] == alone["buckets"]


def test_a_device_that_is_named_twice_is_given_once(admin, motes):
    assert len(ask(admin, "mote-1", "mote-1")["devices"]) == 1


def test_an_unknown_device_is_not_found_by_name(admin, motes):
    answer = admin.get(AGGREGATE, {"device_id": ["mote-1", "nobody"]})
    assert "nobody" in problem(answer, 404)["detail"]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "device_id"),
        ({"device_id": ["a"] * 101}, "device_id"),
        ({"device_id": "a b"}, "device_id"),
        ({"device_id": ""}, "device_id"),
        ({"tag": "a,b"}, "tag"),
        ({"tag": ["a"] * 11}, "tag"),
        ({"tag": "roof"}, "tag"),
        ({"device_id": "mote-1", "bucket": "1w"}, "bucket"),
        ({"device_id": "mote-1", "devices": "mote-2"}, "devices"),
        ({"device_id": "mote-1", "format": "xml"}, "format"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(admin, motes, given, field):
    errors = problem(admin.get(AGGREGATE, given), 422)["errors"]
    assert [error["field"].split(".")[0] for error in errors] == [field]


def test_at_most_100_devices_are_answered(admin, monkeypatch):
    names = make_devices(101)
    assert len(ask(admin, *names[:100])["devices"]) == 100
    assert problem(admin.get(AGGREGATE, {"device_id": names}), 422)["errors"][0]["code"] == "max_length"
    assert parameters.DEVICES_MAX == 100


def give(admin: Any, device_id: str, *tags: str) -> None:
    assert admin.patch(f"/api/v1/devices/{device_id}", {"tags": tags}).status_code == 200


def test_a_tag_names_all_devices_that_have_it_and_several_those_that_have_all(admin, motes):
    make_devices(2)
    for device_id, *tags in (("node-0000", "roof"), ("mote-1", "roof", "North"), ("mote-2", "north")):
        give(admin, device_id, *tags)

    def devices(**asked: Any) -> list[str]:
        answer = admin.get(AGGREGATE, HOUR | asked).json()
        return [device["device_id"] for device in answer["devices"]]

    assert devices(tag="roof") == ["mote-1", "node-0000"]
    assert devices(tag=["roof", "NORTH"]) == ["mote-1"]
    assert devices(tag="north", device_id=["node-0001", "mote-2"]) == ["node-0001", "mote-2", "mote-1"]
    admin.post("/api/v1/tags", {"name": "empty"})
    assert devices(tag="empty", bucket="auto") == []


def test_an_unknown_tag_is_refused_by_name(admin, motes):
    give(admin, "mote-1", "roof")
    error = problem(admin.get(AGGREGATE, {"tag": ["roof", "cellar"], "device_id": "mote-2"}), 422)["errors"][0]
    assert (error["field"], error["code"], "cellar" in error["detail"]) == ("tag", "unknown_tag", True)


def test_the_devices_of_tags_count_for_the_maximum_of_100(admin, motes):
    names = make_devices(100)
    give(admin, names[0], "roof")
    DeviceTag.objects.bulk_create(DeviceTag(device_id=name, tag=Tag.objects.get()) for name in names[1:])
    assert len(ask(admin, tag="roof")["devices"]) == 100
    assert len(ask(admin, *names[:50], tag="roof")["devices"]) == 100
    refused = problem(admin.get(AGGREGATE, {"tag": "roof", "device_id": "mote-1"}), 422)["errors"][0]
    assert (refused["field"], refused["code"]) == ("tag", "too_many_devices")


def test_too_many_values_of_devices_with_different_plans_suggest_fewer_devices(admin, motes, monkeypatch):
    roll_up(HOURS)
    DeviceState.objects.filter(device_id="mote-2").update(rolled_up_minutes_seq=0)
    monkeypatch.setattr(aggregation, "AGGREGATE_VALUES_MAX", 2)
    refused = admin.get(AGGREGATE, HOUR | {"device_id": ["mote-1", "mote-2"], "bucket": "1m"})
    assert "fewer devices" in problem(refused, 422)["errors"][0]["detail"]


def test_the_values_of_all_devices_count(admin, motes, monkeypatch):
    monkeypatch.setattr(aggregation, "AGGREGATE_VALUES_MAX", 15)
    monkeypatch.setattr(parameters, "AGGREGATE_VALUES_MAX", 15)
    both = HOUR | {"device_id": ["mote-1", "mote-2"], "metrics": "temperature"}

    refused = problem(admin.get(AGGREGATE, both | {"bucket": "5m", "fill": "null"}), 422)["errors"][0]
    assert (refused["field"], refused["code"]) == ("bucket", "too_many_values")
    assert "12 buckets of 2 metrics of 2 devices, 24 values" in refused["detail"]
    assert "fewer devices" in refused["detail"]
    auto = admin.get(AGGREGATE, both | {"bucket": "auto", "fill": "null"}).json()
    assert auto["bucket"] == "10m"
    monkeypatch.setattr(aggregation, "AGGREGATE_VALUES_MAX", 2)
    assert admin.get(AGGREGATE, both | {"bucket": "1h"}).status_code == 200
    problem(admin.get(AGGREGATE, both | {"bucket": "1m"}), 422)


def test_a_large_answer_is_the_same(admin, motes, monkeypatch):
    expected = ask(admin, "mote-1", "mote-2", bucket="10m")
    monkeypatch.setattr("readings.history.answers.LARGE_ANSWER_VALUES", 1)
    assert ask(admin, "mote-1", "mote-2", bucket="10m") == expected


def rows_of(response: Any) -> list[list[str]]:
    assert response.status_code == 200, response.content
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.reader(io.StringIO(response.content.decode(), newline=""), strict=True))


def test_csv_has_a_line_for_each_device_bucket_and_metric(admin, motes):
    query = HOUR | {"device_id": ["mote-1", "mote-2"], "bucket": "30m", "format": "csv"}
    response = admin.get(AGGREGATE, query)

    assert response["Content-Disposition"] == 'attachment; filename="statistics.csv"'
    rows = rows_of(response)
    assert rows[0] == ["device_id", "start", "metric", "count", "min", "max", "avg", "sum"]
    assert sorted(rows[1:]) == [
        ["mote-1", "2026-05-09T12:00:00.000000Z", "co2", "1", "400.0", "400.0", "400.0", "400.0"],
        ["mote-1", "2026-05-09T12:00:00.000000Z", "temperature", "1", "20.0", "20.0", "20.0", "20.0"],
        ["mote-1", "2026-05-09T12:30:00.000000Z", "temperature", "1", "22.0", "22.0", "22.0", "22.0"],
        ["mote-2", "2026-05-09T12:00:00.000000Z", "temperature", "1", "10.0", "10.0", "10.0", "10.0"],
    ]


def test_csv_may_have_local_times_for_spreadsheets(admin, motes):
    query = HOUR | {"device_id": "mote-2", "bucket": "30m", "format": "csv", "tz": "Asia/Kathmandu"}
    assert rows_of(admin.get(AGGREGATE, query | {"time": "local"}))[1][1] == "2026-05-09 17:45:00.000"
    assert rows_of(admin.get(AGGREGATE, query))[1][1] == "2026-05-09T12:00:00.000000Z"
    error = problem(admin.get(AGGREGATE, HOUR | {"device_id": "mote-2", "time": "local"}), 422)["errors"][0]
    assert (error["field"], error["code"]) == ("time", "needs_csv")


def test_csv_of_the_whole_window_begins_with_it_and_leaves_absent_numbers_empty(admin, motes):
    rows = rows_of(admin.get(AGGREGATE, HOUR | {"device_id": "mote-2", "metrics": "humidity"}, HTTP_ACCEPT="text/csv"))
    assert rows[1:] == [["mote-2", "2026-05-09T12:00:00.000000Z", "humidity", "0", "", "", "", "0.0"]]


def test_one_device_has_its_buckets_as_csv_too(admin, motes):
    response = admin.get("/api/v1/devices/mote-2/aggregate", HOUR | {"bucket": "1h", "format": "csv"})
    assert response["Content-Disposition"] == 'attachment; filename="mote-2.csv"'
    assert rows_of(response)[1:] == [
        ["mote-2", "2026-05-09T12:00:00.000000Z", "temperature", "1", "10.0", "10.0", "10.0", "10.0"]
    ]


def test_a_device_that_is_erased_meanwhile_is_not_found(admin, motes, monkeypatch):
    answered = aggregation.answered

    def erase_first(*args: Any, **options: Any) -> Any:
        DeviceState.objects.filter(device_id="mote-2").delete()
        return answered(*args, **options)

    monkeypatch.setattr(aggregation, "answered", erase_first)
    problem(admin.get(AGGREGATE, HOUR | {"device_id": ["mote-1", "mote-2"]}), 404)
    assert Device.objects.filter(device_id="mote-1").exists()

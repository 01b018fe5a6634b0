"""`GET /api/v1/history`: the readings of several devices as CSV; wide and long tables, and headings with labels."""

import csv
import io
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from devices.tests.fixtures import ADMIN_KEY, problem
from readings.history import answers
from readings.models import Metric, Reading
from readings.tests.logs import at, new, store

pytestmark = pytest.mark.django_db

HISTORY = "/api/v1/history"
BOTH: dict[str, Any] = {"device_id": ["mote-1", "mote-2"], "order": "asc"}


@pytest.fixture
def motes(device, other_device):
    store([new(timestamp=at(0), temperature=20.5, extra={"co2": 400}), new(timestamp=at(5), temperature=21.0)])
    store([new("mote-2", at(2), temperature=None, humidity=40.0)])


async def streamed(path: str, parameters: dict[str, Any]) -> tuple[Any, bytes]:
    response: Any = await AsyncClient().get(path, parameters, headers={"X-API-Key": ADMIN_KEY})
    assert response.status_code == 200, response.content
    return response, b"".join([part async for part in response])


def download(path: str = HISTORY, **parameters: Any) -> list[list[str]]:
    _, body = async_to_sync(streamed)(path, parameters)
    return list(csv.reader(io.StringIO(body.decode(), newline=""), strict=True))


def test_wide_has_a_line_for_each_reading_and_the_metrics_of_all_devices(motes):
    ids = [str(pk) for pk in Reading.objects.order_by("device_id", "seq").values_list("pk", flat=True)]

    assert download(**BOTH) == [
        ["id", "seq", "device_id", "timestamp", "temperature", "humidity", "voltage", "co2"],
        [ids[0], "1", "mote-1", "2026-05-09T12:00:00.000000Z", "20.5", "", "", "400"],
        [ids[1], "2", "mote-1", "2026-05-09T12:00:05.000000Z", "21.0", "", "", ""],
        [ids[2], "1", "mote-2", "2026-05-09T12:00:02.000000Z", "", "40.0", "", ""],
    ]


def test_long_has_a_line_for_each_value(motes):
    rows = download(**BOTH, shape="long", metrics="co2,temperature")

    assert rows[0] == ["id", "seq", "device_id", "timestamp", "metric", "value"]
    assert [row[1:] for row in rows[1:]] == [
        ["1", "mote-1", "2026-05-09T12:00:00.000000Z", "co2", "400"],
        ["1", "mote-1", "2026-05-09T12:00:00.000000Z", "temperature", "20.5"],
        ["2", "mote-1", "2026-05-09T12:00:05.000000Z", "temperature", "21.0"],
    ]


def test_one_device_has_the_same_layouts(motes):
    rows = download("/api/v1/devices/mote-2/history", format="csv", shape="long")
    assert [row[2:] for row in rows[1:]] == [["mote-2", "2026-05-09T12:00:02.000000Z", "humidity", "40.0"]]


def test_pages_follow_each_other_in_each_device(motes, monkeypatch):
    monkeypatch.setattr("readings.history.csv_export.PAGE_READINGS", 2)
    store(new("mote-2", at(n), temperature=float(n)) for n in range(10, 17))

    rows = download(**BOTH)[1:]

    assert [(row[2], row[1]) for row in rows] == [
        *(("mote-1", str(n)) for n in (1, 2)),
        *(("mote-2", str(n)) for n in range(1, 9)),
    ]


def test_headings_are_labels_with_units_and_no_formula(motes):
    Metric.objects.filter(name="co2").update(label='=cmd, "quoted"', unit="ppm")

    rows = download(**BOTH, headers="labels")

    assert rows[0][4:] == ["temperature (°C)", "humidity (%)", "voltage (V)", '\'=cmd, "quoted" (ppm)']
    assert download(**BOTH, headers="labels", shape="long")[0][4:] == ["metric", "value"]


def test_a_wide_table_of_several_devices_is_bounded(admin, motes, monkeypatch):
    monkeypatch.setattr(answers, "WIDE_METRICS_MAX", 3)

    refused = problem(admin.get(HISTORY, BOTH), 422)["errors"][0]

    assert (refused["field"], refused["code"]) == ("shape", "too_many_columns")
    assert "4 different metrics" in refused["detail"]
    assert len(download(**BOTH, shape="long")) == 1 + 4
    assert len(download(**BOTH, metrics="co2,humidity")[0]) == 6
    assert len(download(device_id="mote-1")[0]) == 8


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"format": "json"}, "format"),
        ({"limit": "5"}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"shape": "tall"}, "shape"),
        ({"headers": "units"}, "headers"),
        ({"tz": "UTC"}, "tz"),
        ({"device_id": []}, "device_id"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(admin, motes, given, field):
    assert [error["field"] for error in problem(admin.get(HISTORY, BOTH | given), 422)["errors"]] == [field]


@pytest.mark.parametrize("given", [{"shape": "long"}, {"headers": "labels"}, {"time": "local"}])
def test_layouts_are_for_csv_alone(admin, motes, given):
    ((name, _),) = given.items()
    refused = problem(admin.get("/api/v1/devices/mote-1/history", given), 422)["errors"][0]
    assert (refused["field"], refused["code"]) == (name, "needs_csv")


def test_an_unknown_device_is_not_found(admin, motes):
    assert "nobody" in problem(admin.get(HISTORY, {"device_id": ["mote-1", "nobody"]}), 404)["detail"]

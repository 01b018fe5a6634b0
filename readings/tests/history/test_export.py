"""History as CSV: the whole window, streamed."""

import csv
import io
from datetime import datetime
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from devices.tests.fixtures import ADMIN_KEY, problem
from readings.history import csv_export
from readings.models import Reading
from readings.tests.logs import at, new, store, store_at

pytestmark = pytest.mark.django_db

HISTORY = "/api/v1/devices/mote-1/history"
IDENTIFYING = ["id", "seq", "device_id", "timestamp"]


async def streamed(parameters: dict[str, Any], headers: dict[str, str]) -> tuple[Any, list[bytes]]:
    response: Any = await AsyncClient().get(HISTORY, parameters, headers={"X-API-Key": ADMIN_KEY} | headers)
    assert response.status_code == 200, response.content
    assert response.streaming
    return response, [part async for part in response]


def download(parameters: dict[str, Any] | None = None, **headers: str) -> tuple[Any, list[list[str]]]:
    """The response, and its rows as parsed CSV."""
    query = {"format": "csv"} if parameters is None else parameters
    response, parts = async_to_sync(streamed)(query, headers)
    return response, list(csv.reader(io.StringIO(b"".join(parts).decode(), newline=""), strict=True))


def column(rows: list[list[str]], name: str) -> list[str]:
    return [row[rows[0].index(name)] for row in rows[1:]]


def test_it_gives_each_reading_a_row(device):
    store([new(timestamp=at(0), temperature=21.5, extra={"rssi": -67}), new(timestamp=at(0.5), humidity=40.0)])

    response, rows = download()

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"] == 'attachment; filename="mote-1.csv"'
    ids = [str(reading.id) for reading in Reading.objects.order_by("-seq")]
    assert rows == [
        [*IDENTIFYING, "temperature", "humidity", "voltage", "rssi"],
        [ids[0], "2", "mote-1", "2026-05-09T12:00:00.500000Z", "", "40.0", "", ""],
        [ids[1], "1", "mote-1", "2026-05-09T12:00:00.000000Z", "21.5", "", "", "-67"],
    ]


def test_the_accept_header_asks_for_it_too(device):
    store_at(at(0))
    assert download({}, Accept="text/csv")[1] == download({}, Accept="text/csv;q=1, */*")[1] == download()[1]


@pytest.mark.parametrize(
    "headers", [{"Accept": "text/html"}, {"Accept": "*/*"}, {"Accept": "application/json,text/csv"}, {}]
)
def test_whoever_does_not_ask_for_it_gets_json(admin, device, headers):
    assert admin.get(HISTORY, headers=headers)["Content-Type"] == "application/json"


def test_the_parameter_is_stronger_than_the_header(admin, device):
    response = admin.get(HISTORY, {"format": "json"}, headers={"Accept": "text/csv"})
    assert response["Content-Type"] == "application/json"


def test_an_empty_window_is_a_header_alone(device):
    assert download()[1] == [[*IDENTIFYING, "temperature", "humidity", "voltage"]]


def test_every_extra_metric_of_the_device_has_a_column(device):
    store([new(timestamp=at(n), extra={f"m{n}": n, "all": n}) for n in range(3)])
    window = {"start": at(1).isoformat(), "end": at(3).isoformat(), "format": "csv"}
    _, rows = download(window)
    assert rows[0][len(IDENTIFYING) :] == ["temperature", "humidity", "voltage", "all", "m0", "m1", "m2"]
    assert column(rows, "m2") == ["2", ""]
    assert column(rows, "m0") == ["", ""]


def test_the_columns_are_found_without_reading_the_log(device):
    store([new(timestamp=at(n), extra={"a": n}) for n in range(3)])
    with CaptureQueriesContext(connection) as queries:
        download()
    assert not any("readings_rollup" in query["sql"] or "json_each" in query["sql"] for query in queries)


def test_lines_come_a_few_hundred_at_a_time(device):
    store([new(timestamp=at(n), temperature=float(n)) for n in range(600)])
    _, parts = async_to_sync(streamed)({"format": "csv"}, {})
    assert [part.count(b"\r\n") for part in parts] == [1, 250, 250, 100]


def test_the_metrics_asked_for_are_the_columns_in_that_order(device):
    store([new(temperature=1.0, extra={"rssi": -67, "pm": 2.5}), new(voltage=3.0)])
    _, rows = download({"format": "csv", "metrics": "pm,temperature,nothing"})
    assert [row[len(IDENTIFYING) :] for row in rows] == [["pm", "temperature", "nothing"], ["2.5", "1.0", ""]]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("page", [1, 3, 7, 50])
def test_it_gives_the_whole_window_whatever_the_limit(device, monkeypatch, order, page):
    monkeypatch.setattr(csv_export, "PAGE_READINGS", page)
    store_at(*(at(n // 4) for n in range(24)))

    _, rows = download({"format": "csv", "order": order, "limit": 2, "start": at(1).isoformat()})

    assert column(rows, "seq") == [str(seq) for seq in sorted(range(5, 25), reverse=order == "desc")]


def test_it_reads_page_by_page(device, monkeypatch):
    monkeypatch.setattr(csv_export, "PAGE_READINGS", 5)
    store_at(*map(at, range(20)))
    with CaptureQueriesContext(connection) as queries:
        _, parts = async_to_sync(streamed)({"format": "csv"}, {})
    assert [part.count(b"\r\n") for part in parts] == [1, 5, 5, 5, 5]
    assert sum("LIMIT 5" in query["sql"] for query in queries) == 5


@pytest.mark.parametrize("value", [-1.5, -67, 1e300, -1e300, 1e-7, 5e-324, 0.1, 1e22, 2**53])
def test_every_number_is_one_that_a_spreadsheet_reads(device, value):
    store([new(temperature=float(value), extra={"probe": value})])
    _, rows = download()
    for name in ("temperature", "probe"):
        (cell,) = column(rows, name)
        assert float(cell) == value


def test_nothing_in_it_is_taken_for_a_formula(device):
    type(device).objects.register(device_id="AA:BB:CC:DD:EE:FF")
    store([new(temperature=-1.5, extra={"rssi": -67, "sum": 1e300, "e1": 5e-324})])
    _, rows = download()
    for cell in (cell for row in rows for cell in row if cell):
        assert cell[0].isalnum() or float(cell) < 0
        assert not set(cell) & set("=@\t\r\n\"'|")


def test_errors_are_problem_documents_also_here(admin, device):
    parameters = {"format": "csv", "start": "never"}
    assert problem(admin.get(HISTORY, parameters), 422)["errors"][0]["field"] == "start"
    problem(admin.get("/api/v1/devices/nobody/history", {"format": "csv"}), 404)


def test_the_file_name_of_a_mac_address_has_no_colons(db):
    from devices.models import Device

    Device.objects.register(device_id="AA:BB:CC:DD:EE:FF")
    address = "/api/v1/devices/AA:BB:CC:DD:EE:FF/history"

    async def ask() -> Any:
        response: Any = await AsyncClient().get(address, {"format": "csv"}, headers={"X-API-Key": ADMIN_KEY})
        assert [part async for part in response]
        return response

    assert async_to_sync(ask)()["Content-Disposition"] == 'attachment; filename="AA-BB-CC-DD-EE-FF.csv"'


@pytest.mark.parametrize(
    ("tz", "moment", "cell"),
    [
        ({}, "2026-05-09T12:00:00.5+00:00", "2026-05-09 12:00:00.500"),
        ({"tz": "Europe/Berlin"}, "2026-05-09T12:00:00+00:00", "2026-05-09 14:00:00.000"),
        ({"tz": "Europe/Berlin"}, "2026-01-31T23:30:00.309930+00:00", "2026-02-01 00:30:00.309"),
        ({"tz": "Asia/Kathmandu"}, "1970-01-01T00:00:00+00:00", "1970-01-01 05:30:00.000"),
        ({"tz": "America/St_Johns"}, "2026-03-08T05:30:00+00:00", "2026-03-08 03:00:00.000"),
    ],
)
def test_local_times_have_the_form_that_spreadsheets_read(tz, moment, cell, device):
    store_at(datetime.fromisoformat(moment))
    _, rows = download({"format": "csv", "time": "local"} | tz)
    assert column(rows, "timestamp") == [cell]
    assert column(download({"format": "csv", "time": "utc"})[1], "timestamp") == column(download()[1], "timestamp")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"time": "local"}, "needs_csv"),
        ({"format": "json", "time": "local", "tz": "Europe/Berlin"}, "needs_csv"),
        ({"format": "csv", "tz": "Europe/Berlin"}, "needs_local_time"),
        ({"format": "csv", "time": "utc", "tz": "Europe/Berlin"}, "needs_local_time"),
        ({"format": "csv", "time": "local", "tz": "Berlin"}, "invalid_time_zone"),
        ({"format": "csv", "time": "here"}, "invalid_choice"),
    ],
)
def test_local_times_without_their_parameters_are_refused(parameters, code, admin, device):
    document = problem(admin.get(HISTORY, parameters), 422)
    assert [error["code"] for error in document["errors"]] == [code]

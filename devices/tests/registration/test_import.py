"""`POST /api/v1/device-imports`: a table of devices is checked as a whole, and then registered."""

import csv
import io
from types import SimpleNamespace

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.exceptions import APIException

from devices.models import Device, Tag
from devices.registration import table
from devices.registration.api import TABLE, CSVParser
from devices.registration.table import COLUMNS, RowSerializer
from devices.tests.fixtures import client_with, problem, staff_client, token_client

pytestmark = pytest.mark.django_db

IMPORTS = "/api/v1/device-imports"
FULL = """\
device_id,name,tags,report_interval,retention_days,location,latitude,longitude,notes
bed-1,Bed 1,"Roof, north",60,30,"Row 1, left",52.5,13.4,"first
second"
bed-2,,roof;south,,,,,,
"""


def post(client, text, **query):
    address = f"{IMPORTS}?{'&'.join(f'{name}={value}' for name, value in query.items())}"
    body = text if isinstance(text, bytes) else text.encode()
    return client.generic("POST", address, body, content_type="text/csv")


def faults(client, text, **query):
    document = problem(post(client, text, **query), 422)
    assert not Device.objects.exclude(device_id="mote-1").exists()
    return [(error["line"], error["field"], error["code"]) for error in document["errors"]]


def test_a_table_registers_its_devices_and_answers_their_keys_once(admin):
    answer = post(admin, FULL)

    assert (answer.status_code, answer["Content-Type"]) == (201, "text/csv; charset=utf-8")
    assert answer["Cache-Control"] == "private, no-store"
    rows = list(csv.reader(io.StringIO(answer.content.decode(), newline="")))
    assert rows[0] == ["device_id", "api_key"]
    keys = dict(rows[1:])
    assert list(keys) == ["bed-1", "bed-2"]
    for device_id, key in keys.items():
        assert client_with(key).post("/api/v1/ingest", {"temperature": 1}).status_code == 201, device_id
    first, second = (admin.get(f"/api/v1/devices/{device_id}").json() for device_id in keys)
    assert (first["name"], first["tags"], first["report_interval"]) == ("Bed 1", ["north", "Roof"], 60)
    assert (first["location"], first["latitude"], first["longitude"]) == ("Row 1, left", 52.5, 13.4)
    assert first["notes"].splitlines() == ["first", "second"]
    assert Device.objects.get(device_id="bed-1").retention_days == 30
    assert (second["name"], second["tags"], second["report_interval"]) == ("", ["Roof", "south"], None)
    assert set(Tag.objects.values_list("name", flat=True)) == {"Roof", "north", "south"}
    logged = LogEntry.objects.filter(content_type__model="device", action_flag=1).order_by("object_repr")
    assert [entry.object_repr for entry in logged] == ["bed-1", "bed-2"]


def test_json_answers_and_a_check_writes_nothing(admin):
    assert post(admin, FULL, check="true").json() == {"devices": 2}
    assert not Device.objects.exists()
    assert not Tag.objects.exists()
    made = post(admin, "device_id\nbed-1", format="json").json()["devices"]
    assert [device["device_id"] for device in made] == ["bed-1"]
    assert made[0]["api_key"].startswith("tlm_")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffDevice_ID;Name;latitude;longitude\r\nbed-1;Bed, 1;52,5;13,4\r\n\r\n;;;\r\n",
        "device_id\tname\tlatitude\tlongitude\nbed-1\tBed, 1\t52.5\t13.4\t\t",
        '\n"device_id","name","latitude","longitude"\n" bed-1 ","Bed, 1"," 52.5 ","13.4"',
    ],
    ids=["semicolons and decimal commas", "tabs", "quotes and spaces"],
)
def test_what_spreadsheets_write_is_read(admin, text):
    assert post(admin, text).status_code == 201
    device = Device.objects.get()
    assert (device.device_id, device.name, device.latitude, device.longitude) == ("bed-1", "Bed, 1", 52.5, 13.4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [(1, "", "empty")]),
        ("device_id\n\n", [(1, "", "empty")]),
        ("name\nx", [(1, "device_id", "required")]),
        ("device_id,colour,name,name\nx", [(1, "colour", "unknown_column"), (1, "name", "repeated_column")]),
        ("device_id\na b\n\nc,d", [(4, "", "too_many_cells")]),
        ("device_id\na b\nok", [(2, "device_id", "invalid_device_id")]),
        ("device_id,name\nx,a\n,b", [(3, "device_id", "blank")]),
        ("device_id\nbed-1\nbed-2\nbed-1", [(4, "device_id", "repeated")]),
        ("device_id\nmote-1", [(2, "device_id", "device_id_taken")]),
        ("device_id,report_interval\na,0\nb,1.5\nc,soon", [(2, "report_interval", "min_value")] + [
            (line, "report_interval", "invalid") for line in (3, 4)]),
        ("device_id,retention_days\na,-1", [(2, "retention_days", "min_value")]),
        ("device_id,latitude,longitude\na,91,0\nb,1,\nc,north,1",
         [(2, "latitude", "max_value"), (3, "longitude", "coordinate_missing"), (4, "latitude", "invalid")]),
        ("device_id,tags\na,.x\nb,x/y", [(2, "tags", "invalid_tag"), (3, "tags", "invalid_tag")]),
        ("device_id,tags\na," + ";".join(f"t{n}" for n in range(21)), [(2, "tags", "max_length")]),
        ('device_id,name\na,"b\nc', [(2, "", "not_csv")]),
        ('device_id,notes\na,"1\n2"\nb b,"3\n4"', [(4, "device_id", "invalid_device_id")]),
        (b"device_id,name\na,b\nc,\xfc", [(3, "", "not_utf8")]),
        (b"device_id\n\0", [(2, "", "not_utf8")]),
        (b"PK\x03\x04", [(1, "", "not_csv")]),
        ("device_id,name\na," + "x" * 256, [(2, "name", "max_length")]),
    ],
)  # fmt: skip
def test_every_fault_is_named_by_line_and_column_and_nothing_is_written(admin, device, text, expected):
    assert faults(admin, text) == expected
    assert not Tag.objects.exists()


def test_faults_and_devices_are_bounded(admin, monkeypatch):
    document = problem(post(admin, "device_id\n" + "a b\n" * 150), 422)
    assert (len(document["errors"]), document["error_count"]) == (100, 150)
    assert document["errors"][0]["detail"].startswith("line 2, device_id: ")
    monkeypatch.setattr(table, "DEVICES_MAX", 2)
    assert faults(admin, "device_id\na\nb\nc") == [(4, "", "too_many_devices")]


def test_a_table_costs_no_more_than_its_faults_that_are_listed(admin, monkeypatch):
    monkeypatch.setattr(table, "DEVICES_MAX", 2)
    assert faults(admin, "device_id\n" + "a,b\n" * 4) == [(4, "", "too_many_devices")]
    assert faults(admin, "device_id" + ",x" * 200) == [(1, "", "too_many_cells")]
    document = problem(post(admin, "device_id,tags\na," + ";".join(f".{n}" for n in range(500))), 422)
    assert document["error_count"] <= 21


@pytest.mark.parametrize(
    ("refused", "status"), [("body_too_large", 413), ("malformed_gzip", 400), ("unsupported_encoding", 415)]
)
def test_a_body_that_could_not_be_received_is_refused(refused, status):
    request = SimpleNamespace(_request=SimpleNamespace(scope={"body_refused": refused}))
    with pytest.raises(APIException) as raised:
        CSVParser().parse(io.BytesIO(), parser_context={"request": request})
    assert raised.value.status_code == status


def test_an_account_that_may_not_add_tags_can_use_those_that_exist(device):
    client = staff_client("operator", "devices.add_device")
    Tag.objects.create(name="Roof", key="roof", colour="grey")
    assert faults(client, 'device_id,tags\na,roof\nb,"roof,cellar"') == [(3, "tags", "unknown_tag")]
    assert post(client, "device_id,tags\na,ROOF").status_code == 201


def test_a_limited_token_gives_its_own_tags_and_always_one_of_them(device):
    for name in ("Roof", "Cellar"):
        Tag.objects.create(name=name, key=name.lower(), colour="grey")
    client = token_client("manage", tags=["Roof"])
    assert faults(client, 'device_id,tags\na,roof\nb,\nc,"roof,cellar"\nd,"roof,attic"') == [
        (3, "tags", "outside_limit"),
        (4, "tags", "unknown_tag"),
        (5, "tags", "unknown_tag"),
    ]
    assert post(client, "device_id,tags\na,roof").status_code == 201


def test_a_device_registered_meanwhile_is_a_fault(admin, device, monkeypatch):
    from devices.registration import registering

    monkeypatch.setattr(
        registering, "checked", lambda body, viewer, may_add_tags: [table.NewDevice(2, {"device_id": "mote-1"}, [])]
    )
    assert faults(admin, "") == [(2, "device_id", "device_id_taken")]


def test_many_devices_take_a_bounded_number_of_queries(admin):
    def queries(count):
        rows = "".join(f'd{count}-{n},"roof,north"\n' for n in range(count))
        with CaptureQueriesContext(connection) as captured:
            assert post(admin, f"device_id,tags\n{rows}").status_code == 201
        return len(captured)

    assert queries(1) + 30 > queries(300)


def test_only_csv_is_taken(admin):
    problem(admin.post(IMPORTS, {"device_id": "x"}), 415)


def test_every_column_is_a_field_and_is_documented():
    assert set(COLUMNS) == set(RowSerializer().fields)
    assert ", ".join(COLUMNS) in TABLE["description"]

"""Registration of several devices in the console: a table in, keys as CSV and as labels out."""

import csv
import io
import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from devices.console import registration
from devices.models import Device
from devices.registration.labels import code, provisioning
from devices.tests.fixtures import client_with, staff_client

pytestmark = pytest.mark.django_db

PAGE = "/admin/devices/device/add-several/"
TABLE = "device_id,name,tags\nbed-1,Bed <1>,roof\nbed-2,,roof\n"


@pytest.fixture
def operator(db):
    return staff_client("operator", "devices.add_device", "devices.view_device", "devices.add_tag")


def send(client, **form):
    return client.post(PAGE, form, format="multipart")


@pytest.mark.parametrize(
    "given", [{"text": TABLE}, {"file": SimpleUploadedFile("devices.csv", TABLE.encode())}], ids=["pasted", "file"]
)
def test_a_table_leads_to_the_keys_as_csv_and_as_labels(operator, given):
    if "file" in given:
        given["file"].seek(0)
    answer = send(operator, **given, register="Register")
    assert answer.status_code == 303
    shown = answer["Location"]
    page = operator.get(shown)
    assert page.status_code == 200
    assert 'href="csv/"' in page.content.decode()
    assert 'href="labels/"' in page.content.decode()

    file = operator.get(f"{shown}csv/")
    assert 'filename="keys.csv"' in file["Content-Disposition"]
    assert "no-store" in file["Cache-Control"]
    rows = list(csv.DictReader(io.StringIO(file.content.decode())))
    assert [row["device_id"] for row in rows] == ["bed-1", "bed-2"]
    assert client_with(rows[0]["api_key"]).post("/api/v1/ingest", {"temperature": 1}).status_code == 201

    labels = operator.get(f"{shown}labels/").content.decode()
    assert code(provisioning("http://testserver", "bed-1", rows[0]["api_key"])) in labels
    assert "Bed &lt;1&gt;" in labels
    addresses = operator.get(f"{shown}labels/?code=address").content.decode()
    assert code("http://testserver/live/bed-1/") in addresses
    assert code(provisioning("http://testserver", "bed-1", rows[0]["api_key"])) not in addresses


def test_another_browser_and_another_account_see_neither_keys_nor_labels(operator):
    shown = send(operator, text=TABLE)["Location"]
    other = staff_client("other", "devices.add_device")
    for part in ("", "csv/", "labels/"):
        assert other.get(f"{shown}{part}").status_code == 410
    operator.cookies.pop("new_keys")
    for part in ("", "csv/", "labels/"):
        assert operator.get(f"{shown}{part}").status_code == 410


def test_faults_are_listed_by_line_and_column_and_nothing_is_registered(operator):
    page = send(operator, text="device_id,latitude\nbed-1,52\nbed 2,\n").content.decode()
    assert "Nothing was registered. 2 faults" in page
    found = re.findall(r"<tr><td>(\d+)</td><td><code>(\w+)</code></td>", page)
    assert found == [("2", "longitude"), ("3", "device_id")]
    assert "bed 2" in page  # the pasted text stays
    assert not Device.objects.exists()


def test_a_check_registers_nothing(operator):
    page = send(operator, text=TABLE, check="Only check").content.decode()
    assert "The table has 2 devices and no fault." in page
    assert not Device.objects.exists()


def test_an_empty_form_and_a_large_file_are_refused(operator, monkeypatch):
    assert "Choose a file, or paste a table." in send(operator).content.decode()
    monkeypatch.setattr(registration, "BYTES_MAX", 10)
    page = send(operator, file=SimpleUploadedFile("devices.csv", TABLE.encode())).content.decode()
    assert "more than 2 MB" in page


def test_the_list_of_devices_leads_there(operator):
    assert PAGE in operator.get("/admin/devices/device/").content.decode()
    viewer = staff_client("viewer", "devices.view_device")
    assert PAGE not in viewer.get("/admin/devices/device/").content.decode()


def test_labels_of_devices_that_exist_have_their_addresses(device, other_device, monkeypatch):
    client = staff_client("viewer", "devices.view_device")
    form = {"action": "labels", "_selected_action": [device.pk], "index": "0"}
    page = client.post("/admin/devices/device/", form, format="multipart").content.decode()
    assert code("http://testserver/live/mote-1/") in page
    assert "mote-2" not in page
    assert "Labels with keys" not in page
    monkeypatch.setattr(registration, "LABELS_AT_ONCE", 1)
    answer = client.post("/admin/devices/device/", form | {"select_across": "1"}, format="multipart", follow=True)
    assert "Choose at most 1 devices" in answer.content.decode()


def test_a_label_with_a_key_is_json():
    text = provisioning("https://telemetry.example.org", "bed-1", "tlm_x")
    assert json.loads(text) == {"server": "https://telemetry.example.org", "device_id": "bed-1", "api_key": "tlm_x"}
    assert code(text).startswith("<svg viewBox=")
    assert "style" not in code(text)

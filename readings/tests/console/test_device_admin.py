"""Devices in the console, with their latest values; and their export."""

import csv
import io

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from devices.tests.fixtures import staff_client
from readings.tests.logs import at, make_devices, new, store

pytestmark = pytest.mark.django_db

LIST = "/admin/devices/device/"


@pytest.fixture
def viewer(db):
    return staff_client("viewer", "devices.view_device", "readings.view_reading")


def export(client, *devices):
    form = {"action": "export", "_selected_action": [str(device.pk) for device in devices]}
    response = client.post(LIST, form, format="multipart")
    assert response["Content-Type"].startswith("text/csv"), response.content
    return list(csv.DictReader(io.StringIO(response.content.decode(), newline="")))


def test_the_list_shows_the_latest_values_with_their_units(viewer, device):
    store(
        [new(timestamp=at(5), temperature=21.5, extra={"soil_moisture": 0.31}), new(timestamp=at(1), temperature=9.0)]
    )
    page = viewer.get(LIST).content.decode()
    assert '21.5 <span class="unit">°C</span>' in page
    assert '0.31 <span class="unit">soil moisture</span>' in page
    assert '9 <span class="unit">' not in page


def test_the_list_shows_two_values_and_counts_the_others(viewer, device):
    extra = {f"metric_{n}": 12_345_678 + n / 4 for n in range(4)}
    store([new(timestamp=at(1), temperature=21.5, humidity=None, voltage=None, extra=extra)])
    page = viewer.get(LIST).content.decode()
    assert page.count('class="value-shown"') == 2
    assert '12,345,678 <span class="unit">metric 0</span>' in page
    assert 'title="12,345,678 metric 0"' in page
    assert 'title="12,345,678.3 metric 1\n12,345,678.5 metric 2\n12,345,678.8 metric 3">+3 more<' in page


def test_the_tooltip_of_the_other_values_is_bounded(viewer, device):
    store([new(timestamp=at(1), temperature=None, extra={f"{'m' * 60}_{n:02}": float(n) for n in range(32)})])
    page = viewer.get(LIST).content.decode()
    assert "+30 more<" in page
    assert "\n…" in page
    assert page.count("m" * 60) == 2 + 2 + 20  # two with a tooltip each, and 20 in the tooltip of the others


def test_the_list_costs_the_same_queries_however_many_devices_there_are(viewer, device):
    store([new()])

    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert viewer.get(LIST).status_code == 200
        return len(captured)

    few = queries()
    store([new(device_id) for device_id in make_devices(80)])
    assert queries() == few <= 12


def test_the_export_has_the_chosen_devices_with_status_and_values(viewer, device, other_device):
    store([new(temperature=21.5, extra={"rssi": -61})])
    (row, other) = export(viewer, device, other_device[0])
    assert (row["device_id"], row["readings"], row["temperature"], row["rssi"]) == ("mote-1", "1", "21.5", "-61")
    assert (other["status"], other["last_seen_at"], other["temperature"]) == ("never", "", "")


def test_a_name_cannot_be_a_formula_in_the_export(viewer):
    for number, start in enumerate(("=", "+", "-", "@", "\t=", "\r=", "\n=", "\r\n=", "＝", "＋", "－", "＠")):
        name = f'{start}HYPERLINK("http://evil.example")'
        device, _ = Device.objects.register(device_id=f"sly-{number}", name=name)
        (row,) = export(viewer, device)
        assert row["name"] == f"'{name}"


@pytest.mark.parametrize("name", ["Shed = 2", "a+b", "12", "'quoted'", "（＝）"])
def test_any_other_name_is_exported_as_it_is(viewer, name):
    device, _ = Device.objects.register(device_id="shed", name=name)
    (row,) = export(viewer, device)
    assert row["name"] == name

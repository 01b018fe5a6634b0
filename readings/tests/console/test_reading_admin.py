"""Readings in the console: paged by position without a count or an offset, and read-only."""

import re
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from devices.tests.fixtures import staff_client
from readings.admin import ReadingAdmin
from readings.history.parameters import CursorField
from readings.models import Reading
from readings.tests.logs import at, make_devices, new, store

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LIST = "/admin/readings/reading/"


@pytest.fixture
def viewer(db):
    return staff_client("viewer", "readings.view_reading")


@pytest.fixture
def page_of_three(monkeypatch):
    monkeypatch.setattr(ReadingAdmin, "list_per_page", 3)


def listed(client, **query):
    response = client.get(f"{LIST}?{urlencode(query)}")
    assert response.status_code == 200, response.content
    return response


def rows(response):
    return [(reading.device_id, reading.seq) for reading in response.context["cl"].result_list]


def follow(client, query, link):
    """All rows of a list, collected by following the links between pages, and the number of pages."""
    found, pages = [], 0
    address = f"{LIST}?{urlencode(query)}"
    while address:
        response = client.get(address)
        found += rows(response)
        pages += 1
        match = re.search(rf'<a href="([^"]+)">{link}</a>', response.content.decode())
        address = f"{LIST}{match[1].replace('&amp;', '&')}" if match else ""
    return found, pages


def test_it_takes_leave_to_view_readings(device):
    assert staff_client("newcomer", "devices.view_device").get(LIST).status_code == 403


def test_without_a_device_it_shows_the_latest_reading_of_each(viewer, device, other_device):
    store([new("mote-1", at(60)), new("mote-1", at(120)), new("mote-1", at(0)), new("mote-2", at(30))])
    Device.objects.register(device_id="silent")
    assert rows(listed(viewer)) == [("mote-1", 2), ("mote-2", 1)]


def test_with_a_device_it_shows_its_log_newest_first(viewer, device, other_device):
    store([new("mote-1"), new("mote-2"), new("mote-1"), new("mote-1")])
    assert rows(listed(viewer, q="mote-1")) == [("mote-1", 3), ("mote-1", 2), ("mote-1", 1)]
    assert rows(listed(viewer, q=" mote-2 ")) == [("mote-2", 1)]
    assert rows(listed(viewer, q="mote")) == []


def test_its_log_is_sorted_by_time_however_it_came(viewer, device, page_of_three):
    """Also where readings on both sides of a page's end have the same time."""
    offsets = [0, 50, 20, -3600, 50, 10, 10.000001, 10, -86_400, 50]
    for offset in offsets:
        store([new(timestamp=at(offset))])
    expected = sorted(((offset, seq) for seq, offset in enumerate(offsets, 1)), reverse=True)
    found, pages = follow(viewer, {"q": "mote-1"}, "Older readings")
    assert found == [("mote-1", seq) for _, seq in expected]
    assert pages == 4


def test_it_shows_every_metric(viewer, device):
    store([new(temperature=21.5, humidity=40.0, extra={"rssi": -61, "lux": 0.25})])
    page = listed(viewer, q="mote-1").content.decode()
    for text in ("21.5", "40.0", "2026-05-09 12:00:00", "rssi -61", "lux 0.25"):
        assert text in page


def test_it_counts_the_metrics_that_have_no_room(viewer, device):
    store([new(extra={f"pulses_{n}": 12_345_678 + n for n in range(8)})])
    page = listed(viewer, q="mote-1").content.decode()
    assert "pulses_0 12,345,678, pulses_1" in page
    assert "pulses_5 12,345,683, +2 more<" in page


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_its_pages_lead_through_a_log_without_a_gap(viewer, device, page_of_three, count):
    store([new() for _ in range(count)])
    found, pages = follow(viewer, {"q": "mote-1"}, "Older readings")
    assert found == [("mote-1", seq) for seq in range(count, 0, -1)]
    assert pages == max(1, -(-count // 3))


@pytest.mark.parametrize("count", [0, 3, 7])
def test_its_pages_lead_through_all_devices_without_a_gap(viewer, page_of_three, count):
    device_ids = make_devices(count)
    store([new(device_id) for device_id in device_ids])
    found, pages = follow(viewer, {}, "More devices")
    assert found == [(device_id, 1) for device_id in device_ids]
    assert pages == max(1, -(-count // 3))


def test_what_arrives_meanwhile_shifts_no_page(viewer, device, page_of_three):
    store([new() for _ in range(6)])
    assert rows(listed(viewer, q="mote-1")) == [("mote-1", 6), ("mote-1", 5), ("mote-1", 4)]
    store([new(), new()])
    assert rows(listed(viewer, q="mote-1", beyond=CursorField.encode(at(0), 4))) == [
        ("mote-1", 3),
        ("mote-1", 2),
        ("mote-1", 1),
    ]


def test_a_later_page_leads_back_to_the_first(viewer, device, page_of_three):
    store([new() for _ in range(6)])
    assert "First page" not in listed(viewer, q="mote-1").content.decode()
    assert (
        '<a href="?q=mote-1">First page</a>'
        in listed(viewer, q="mote-1", beyond=CursorField.encode(at(0), 4)).content.decode()
    )


@pytest.mark.parametrize(
    "query",
    [{}, {"q": "node-0001"}, {"q": "node-0001", "beyond": CursorField.encode(at(0), 9)}, {"beyond": "node-0001"}],
)
def test_it_neither_counts_nor_skips_and_costs_the_same_however_many_there_are(viewer, query):
    devices = make_devices(12)
    store([new("node-0001")])

    def statements() -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            listed(viewer, **query)
        return [captured["sql"] for captured in queries.captured_queries]

    few = statements()
    store([new(device_id) for device_id in devices for _ in range(20)])
    many = statements()
    assert len(many) == len(few)
    # The log of a device; of each device its state has the latest reading.
    source = "readings_reading" if "q" in query else "latest_seq"
    (asked,) = [statement for statement in many if source in statement and "LIMIT" in statement]
    assert "LIMIT 101" in asked
    # Of segments, each with many readings, the statement skips one at most.
    assert not [one for one in many if "COUNT(" in one or re.search(r"OFFSET (?![01]\b)", one)]


@pytest.mark.parametrize(
    "query",
    [
        {"q": "mote-1", "beyond": "\x00"},
        {"q": "mote-1", "beyond": "-1"},
        {"q": "mote-1", "beyond": "9" * 18},
        {"q": "mote-1", "beyond": "9" * 5000},
        {"q": "mote-1", "beyond": "text"},
        {"q": "mote-1", "beyond": "٣"},
        {"q": "mote-1", "beyond": "1.5"},
        {"q": "mote-1", "beyond": "4"},
        {"q": "mote-1", "beyond": CursorField.encode(at(0), 1)[:-3]},
        {"q": "mote-1", "beyond": CursorField.encode(at(0), 0)},
        {"beyond": "\x00"},
        {"beyond": "zz" * 2000},
        {"beyond": "\ud7ff'\"%"},
        {"q": "\x00"},
        {"q": "x" * 5000},
        {"q": "'; DROP TABLE"},
        {"q": "%"},
        {"p": "x"},
        {"o": "x.-99"},
        {"all": ""},
        {"nothing": "1"},
        {"seq": "x"},
        {"seq": "9" * 40},
        {"device_id": "\x00"},
    ],
    ids=lambda query: urlencode(query)[:40],
)
def test_odd_addresses_are_no_fault_of_ours(viewer, device, query):
    store([new()])
    assert viewer.get(f"{LIST}?{urlencode(query)}", follow=True).status_code in (200, 400)


def test_nobody_edits_a_reading(device):
    permissions = [f"readings.{what}_reading" for what in ("view", "add", "change", "delete")]
    root = staff_client("root", *permissions)
    store([new()])
    reading = Reading.objects.get()
    form = {"temperature": "99", "seq": "5"}
    for address in ("add/", "mote-1~1/change/", "mote-1~1/delete/"):
        assert root.post(f"{LIST}{address}", form, format="multipart").status_code == 403
    action = {"action": "delete_selected", "_selected_action": [str(reading.pk)], "post": "yes"}
    root.post(LIST, action, format="multipart")
    assert list(Reading.objects.all()) == [reading]
    assert Reading.objects.get().temperature == 20
    page = listed(root).content.decode()
    assert "delete_selected" not in page
    assert f"{LIST}add/" not in page


def test_a_reading_can_be_looked_at(viewer, device):
    store([new(temperature=21.5)])
    page = viewer.get(f"{LIST}mote-1~1/change/")
    assert page.status_code == 200
    assert "21.5" in page.content.decode()
    assert 'name="_save"' not in page.content.decode()


def test_the_list_leads_to_the_reading_of_the_device_that_it_shows(viewer, device, other_device):
    """Two devices have used the same id."""
    shared = uuid4()
    store([new("mote-1", id=shared, temperature=21.5), new("mote-2", id=shared, temperature=-7.25)])
    for name, shown in (("mote-1", "21.5"), ("mote-2", "-7.25")):
        (address,) = re.findall(rf'<a href="({LIST}[^"]+/change/[^"]*)">{name}</a>', listed(viewer).content.decode())
        page = viewer.get(address).content.decode()
        assert shown in page
        assert "historylink" not in page


@pytest.mark.parametrize("address", ["mote-1~2", "mote-1~0", "mote-1~01", "mote-1~", "~1", "nobody~1", "{id}"])
def test_there_is_no_page_for_anything_else(viewer, device, address):
    store([new()])
    assert viewer.get(f"{LIST}{address.format(id=Reading.objects.get().id)}/change/").status_code == 404

import base64
from datetime import timedelta
from itertools import chain

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, DeviceState
from devices.tests.fixtures import client_with, problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/devices"
# The order of these ids depends on the collation; no page may skip one with any collation.
IDS = ["a-1", "A-1", "a.1", "a:1", "a_1", "a1", "B", "b", "b10", "b9", "Z", "0"]


def register(*device_ids):
    """The keys of registered devices."""
    return {device_id: Device.objects.register(device_id=device_id)[1] for device_id in device_ids}


def pages(client, url):
    """The ids on each page, up to the last page."""
    found = []
    while url:
        answer = client.get(url)
        assert answer.status_code == 200, answer.content
        assert answer.json().keys() == {"results", "next"}
        found.append([device["device_id"] for device in answer.json()["results"]])
        url = answer.json()["next"]
    return found


def listed(client, query=""):
    return set(chain.from_iterable(pages(client, f"{URL}{query}")))


def heard_from(device_id, *, seconds_ago):
    moment = timezone.now() - timedelta(seconds=seconds_ago)
    DeviceState.objects.filter(device=device_id).update(last_seen_at=moment)


def test_an_empty_fleet_is_an_empty_page(admin):
    assert admin.get(URL).json() == {"results": [], "next": None}


@pytest.mark.parametrize("limit", [1, 2, 5, 12, 13])
def test_next_leads_through_every_device_once(admin, limit):
    register(*IDS)

    found = pages(admin, f"{URL}?limit={limit}")

    assert sorted(chain.from_iterable(found)) == sorted(IDS)
    assert all(len(page) == limit for page in found[:-1])
    assert 0 < len(found[-1]) <= limit


def test_a_device_registered_meanwhile_shifts_no_page(admin):
    register("b", "c", "d", "e")
    first = admin.get(f"{URL}?limit=2").json()

    register("a")

    assert pages(admin, first["next"]) == [["d", "e"]]


def test_next_keeps_the_filters(admin):
    register("in-1", "in-2", "in-3", "out-1", "out-2")

    assert pages(admin, f"{URL}?limit=1&search=in-") == [["in-1"], ["in-2"], ["in-3"]]


def test_a_page_has_100_devices_unless_asked(admin):
    register(*(f"mote-{number:03}" for number in range(101)))

    assert [len(page) for page in pages(admin, URL)] == [100, 1]


def test_it_shows_each_device_as_looking_it_up_does(admin, device, as_device):
    as_device.post("/api/v1/ingest", {"temperature": 21.5})

    (shown,) = admin.get(URL).json()["results"]

    assert shown == admin.get(f"{URL}/mote-1").json()


def test_it_includes_each_device_s_own_latest_reading(admin):
    for value, key in enumerate(register("a", "b").values()):
        for temperature in (value, value + 0.5):
            assert client_with(key).post("/api/v1/ingest", {"temperature": temperature}).status_code == 201
    register("c")

    shown = {device["device_id"]: device["latest"] for device in admin.get(URL).json()["results"]}

    assert shown["a"]["temperature"] == 0.5
    assert shown["b"]["temperature"] == 1.5
    assert shown["b"]["seq"] == 2
    assert shown["c"] is None


def test_the_number_of_queries_does_not_grow_with_the_devices(admin):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(f"{URL}?limit=1000&status=online").status_code == 200
        return len(captured)

    for key in register("a", "b").values():
        client_with(key).post("/api/v1/ingest", {"temperature": 1})
    few = queries()
    for key in register(*(f"mote-{number}" for number in range(20))).values():
        client_with(key).post("/api/v1/ingest", {"temperature": 1})

    assert queries() == few <= 3


def test_it_filters_by_status(admin):
    register("never", "online", "late", "offline")
    for device_id, seconds_ago in {"online": 1, "late": 150, "offline": 1000}.items():
        heard_from(device_id, seconds_ago=seconds_ago)

    for status in ("never", "online", "late", "offline"):
        assert listed(admin, f"?status={status}") == {status}


def test_it_filters_by_is_active(admin):
    register("on", "off")
    Device.objects.filter(device_id="off").update(is_active=False)

    assert listed(admin) == {"on", "off"}
    assert listed(admin, "?is_active=true") == {"on"}
    assert listed(admin, "?is_active=false") == {"off"}


def test_it_searches_ids_and_names_in_any_case(admin):
    Device.objects.register(device_id="mote-1", name="North window")
    Device.objects.register(device_id="NORTH-2")
    Device.objects.register(device_id="mote-3", name="South")

    assert listed(admin, "?search=north") == {"mote-1", "NORTH-2"}
    assert listed(admin, "?search=window") == {"mote-1"}


@pytest.mark.parametrize("wildcard", ["%25", "_", "."])
def test_a_search_takes_no_character_for_any_other(admin, wildcard):
    register("mote-1")

    assert listed(admin, f"?search={wildcard}") == set()


def test_an_empty_search_leaves_every_device(admin, device):
    assert listed(admin, "?search=") == {"mote-1"}


def test_filters_add_up(admin):
    register("in-1", "in-2", "out-1")
    heard_from("in-1", seconds_ago=1)
    heard_from("out-1", seconds_ago=1)

    assert listed(admin, "?search=in&status=online&is_active=true") == {"in-1"}


@pytest.mark.parametrize(
    ("query", "field", "code"),
    [
        ("status=sleeping", "status", "invalid_choice"),
        ("status=ONLINE", "status", "invalid_choice"),
        ("statsu=online", "statsu", "unknown_field"),
        ("status=", "status", "invalid_choice"),
        ("is_active=", "is_active", "invalid_choice"),
        ("is_active=yes", "is_active", "invalid_choice"),
        ("is_active=1", "is_active", "invalid_choice"),
        ("search=%00", "search", "null_characters_not_allowed"),
        (f"search={'a' * 256}", "search", "max_length"),
    ],
)
def test_it_refuses_a_filter_it_cannot_apply(admin, query, field, code):
    (error,) = problem(admin.get(f"{URL}?{query}"), 422)["errors"]
    assert (error["field"], error["code"]) == (field, code)


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "many", "1001"])
def test_it_refuses_a_page_size_out_of_bounds(admin, limit):
    (error,) = problem(admin.get(f"{URL}?limit={limit}"), 422)["errors"]
    assert error["field"] == "limit"


@pytest.mark.parametrize(
    "cursor", ["x", "%FF", base64.b64encode(b"p=%00").decode(), base64.b64encode(b"o=-1").decode()]
)
def test_it_refuses_a_cursor_that_is_none_of_its_own(admin, device, cursor):
    (error,) = problem(admin.get(URL, {"cursor": cursor}), 422)["errors"]
    assert error["field"] == "cursor"

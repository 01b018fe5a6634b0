"""Tags, places and notes on the pages, and who sees them."""

import json
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device
from devices.tests.fixtures import staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

TAGS = "/live/-/tags"
WATCH = "readings.view_reading"


@pytest.fixture
def tagged(admin):
    for device_id, tags in {"a": ["roof", "Cellar"], "b": ["roof"], "c": []}.items():
        assert admin.post("/api/v1/devices", {"device_id": device_id, "tags": tags}).status_code == 201
    admin.post("/api/v1/tags", {"name": "empty"})
    for tag in ("roof", "cellar"):
        admin.patch(f"/api/v1/tags/{tag}", {"colour": "teal"})


@pytest.fixture
def viewer(db):
    return staff_client("viewer", WATCH, "devices.view_tag", "devices.view_device")


EXPECTED = {"tags": [["Cellar", "teal"], ["roof", "teal"]], "tags_of": {"a": [0, 1], "b": [1]}}


def carried(client):
    html = client.get("/live/").content.decode()
    found = json.loads(re.search(r'<script id="fleet" type="application/json">(.*?)</script>', html)[1])  # type: ignore[index]
    return {name: found[name] for name in ("tags", "tags_of")}


def test_the_fleet_page_carries_the_tags_that_devices_have(viewer, tagged):
    assert carried(viewer) == EXPECTED


def test_who_may_not_view_tags_gets_none(tagged):
    watcher = staff_client("watcher", WATCH)
    assert carried(watcher) == {"tags": [], "tags_of": {}}
    page = watcher.get("/live/a/").content.decode()
    assert "roof" not in page
    assert watcher.get(TAGS).status_code == 403


def test_open_pages_ask_again_and_get_an_answer_only_if_it_has_changed(viewer, tagged, admin):
    first = viewer.get(TAGS)
    assert first.json() == EXPECTED

    same = viewer.get(TAGS, HTTP_IF_NONE_MATCH=first["ETag"])
    assert (same.status_code, same.content) == (304, b"")

    admin.patch("/api/v1/devices/c", {"tags": ["roof"]})
    changed = viewer.get(TAGS, HTTP_IF_NONE_MATCH=first["ETag"])
    assert changed.json()["tags_of"]["c"] == [1]


def test_it_costs_the_same_queries_however_many_tags_there_are(viewer, tagged, admin):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            viewer.get(TAGS)
        return len(captured)

    few = queries()
    for n in range(10):
        admin.post("/api/v1/devices", {"device_id": f"m{n}", "tags": [f"t{n}", "roof"]})
    assert queries() == few


def test_the_page_of_a_device_shows_tags_place_and_notes(viewer, tagged):
    place = {"location": "Bay <4>", "latitude": 52.5, "longitude": -13.25, "notes": "Ladder & key."}
    Device.objects.filter(device_id="a").update(**place)
    page = viewer.get("/live/a/").content.decode()
    assert '<a class="tag" data-colour="teal" href="/live/?tag=Cellar">Cellar</a>' in page
    assert "Bay &lt;4&gt;" in page
    assert "https://www.openstreetmap.org/?mlat=52.500000&amp;mlon=-13.250000#map=17/52.500000/-13.250000" in page
    assert "Ladder &amp; key." in page
    assert "openstreetmap" not in viewer.get("/live/b/").content.decode()


def test_place_and_notes_need_the_permission_to_view_devices(tagged):
    Device.objects.filter(device_id="a").update(location="Bay 4", latitude=1, longitude=2, notes="Key 7")
    page = staff_client("watcher", WATCH, "devices.view_tag").get("/live/a/").content.decode()
    assert [text for text in ("Bay 4", "openstreetmap", "Key 7") if text in page] == []
    assert ">roof</a>" in page


def test_the_overview_leads_to_the_pages_of_tags(viewer, tagged):
    page = viewer.get("/admin/").content.decode()
    links = re.findall(r'<a class="tag" data-colour="teal" href="([^"]*)">(\w+) <span class="muted">(\d+)', page)
    assert links == [("/live/?tag=Cellar", "Cellar", "1"), ("/live/?tag=roof", "roof", "2")]
    assert "/live/?tag=" not in staff_client("watcher", WATCH, "devices.view_device").get("/admin/").content.decode()

"""`/explore/`, and the views that are saved of it: `/api/v1/views`."""

import json
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.database.turns import Turn
from devices.models import AccountTag, Tag
from devices.tests.fixtures import problem, staff_client, token_client
from readings.models import Metric
from readings.tests.logs import make_devices
from realtime import saved_views
from realtime.models import View

pytestmark = pytest.mark.django_db

VIEWS = "/api/v1/views"
QUERY = "device_id=mote-1&device_id=mote-2&metrics=temperature%2Cco2&range=7d"


@pytest.fixture
def viewer(db):
    return staff_client("viewer", "readings.view_reading")


def facts_of(response):
    assert response.status_code == 200
    found = re.search(r'<script id="facts" type="application/json">(.*?)</script>', response.content.decode())
    assert found
    return json.loads(found[1])


def save(admin, name="Greenhouses", query=QUERY):
    return admin.post(VIEWS, {"name": name, "query": query})


def test_the_page_has_the_devices_of_its_address_the_catalogue_and_the_views(admin, viewer, device, other_device):
    save(admin)
    Metric.objects.filter(name="co2").update(unit="ppm!")

    facts = facts_of(viewer.get("/explore/?device_id=mote-1&device_id=unknown"))

    assert facts["devices"] == [["mote-1", "North window"]]
    assert facts["metrics"]["co2"][:3] == ["CO₂", "ppm!", 0]
    assert [(view["name"], view["query"]) for view in facts["views"]] == [("Greenhouses", QUERY)]
    assert (facts["may_save"], facts["may_delete"]) == (False, False)
    operator = staff_client("operator", "readings.view_reading", "realtime.add_view", "realtime.delete_view")
    assert facts_of(operator.get("/explore/"))["may_save"]


def test_the_page_takes_the_same_queries_however_many_devices_there_are(viewer, device):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            viewer.get("/explore/")
        return len(captured)

    few = queries()
    make_devices(50)
    assert queries() == few <= 9


def test_the_page_is_as_large_however_many_devices_there_are(viewer, device):
    few = len(viewer.get("/explore/").content)
    make_devices(50)
    assert len(viewer.get("/explore/").content) == few


def found(client, **asked):
    response = client.get("/explore/-/devices", asked)
    assert response["Cache-Control"] == "private, no-store"
    return response.json()


def test_the_page_finds_devices_and_tags_by_every_word(admin, device, other_device):
    make_devices(20)
    admin.patch("/api/v1/devices/mote-1", {"tags": ["north beds"]})
    client = staff_client("viewer", "readings.view_reading", "devices.view_tag")

    assert found(client, search="north") == {
        "devices": [["mote-1", "North window"]],
        "tags": [["north beds", 1]],
        "more": False,
    }
    assert found(client, search="window mote")["devices"] == [["mote-1", "North window"]]
    assert found(client, search="#north beds")["tags"] == [["north beds", 1]]
    everything = found(client, search="")
    assert (len(everything["devices"]), everything["more"]) == (12, True)
    assert found(client, device_id=["mote-2", "unknown", "not an id"])["devices"] == [["mote-2", ""]]
    assert found(client) == {"devices": [], "tags": [], "more": False}
    assert found(staff_client("other", "readings.view_reading"), search="north")["tags"] == []


def test_a_limited_caller_finds_its_own_devices_tags_and_views_alone(admin, device, other_device):
    for device_id, name in (("mote-1", "roof"), ("mote-2", "cellar")):
        admin.patch(f"/api/v1/devices/{device_id}", {"tags": [name]})
    save(admin, "Both", "device_id=mote-1&device_id=mote-2")
    save(admin, "Cellar", "tag=cellar")
    save(admin, "Roof", "tag=ROOF&device_id=mote-1")
    client = staff_client("limited", "readings.view_reading", "devices.view_tag")
    AccountTag.objects.create(user=User.objects.get(username="limited"), tag=Tag.objects.get(key="roof"))

    assert found(client, search="") == {"devices": [["mote-1", "North window"]], "tags": [["roof", 1]], "more": False}
    assert [view["name"] for view in facts_of(client.get("/explore/?tag=cellar"))["views"]] == ["Roof"]
    manager = token_client("manage", tags=["roof"])
    assert [view["name"] for view in manager.get(VIEWS).json()["results"]] == ["Roof"]
    for query, code in (("device_id=mote-2", "unknown_device"), ("tag=cellar", "unknown_tag")):
        assert problem(save(manager, "New", query), 422)["errors"][0]["code"] == code
    assert save(manager, "New", "tag=roof").status_code == 201
    for kind in ("aggregate", "history"):
        assert problem(manager.get(f"/api/v1/{kind}?tag=cellar"), 422)["errors"][0]["code"] == "unknown_tag"
    assert [one["device_id"] for one in manager.get("/api/v1/aggregate?tag=roof").json()["devices"]] == ["mote-1"]


def test_the_page_of_a_tag_has_the_names_of_its_devices(admin, viewer, device, other_device):
    admin.patch("/api/v1/devices/mote-1", {"tags": ["roof"]})
    assert facts_of(viewer.get("/explore/?tag=Roof"))["devices"] == [["mote-1", "North window"]]


def test_a_view_is_saved_listed_and_deleted_and_the_changes_are_logged(admin):
    saved = save(admin)
    assert saved.status_code == 201
    view = saved.json()
    assert (view["name"], view["query"], view["created_by"]) == ("Greenhouses", QUERY, "API key")
    save(admin, "Another", "device_id=x")

    listed = admin.get(VIEWS).json()
    assert [one["name"] for one in listed["results"]] == ["Another", "Greenhouses"]
    assert listed["results"][1] == view

    assert admin.delete(f"{VIEWS}/{view['id']}").status_code == 204
    problem(admin.delete(f"{VIEWS}/{view['id']}"), 404)
    assert [one["name"] for one in admin.get(VIEWS).json()["results"]] == ["Another"]
    assert [(e.object_repr, e.action_flag) for e in LogEntry.objects.order_by("id")] == [
        ("Greenhouses", 1), ("Another", 1), ("Greenhouses", 3),
    ]  # fmt: skip


def test_a_name_is_taken_once(admin):
    save(admin)
    assert problem(save(admin, query="device_id=other"), 409)["code"] == "name_taken"
    assert View.objects.get().query == QUERY


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"query": QUERY}, "name", "required"),
        ({"name": "x"}, "query", "required"),
        ({"name": "", "query": QUERY}, "name", "blank"),
        ({"name": "x" * 101, "query": QUERY}, "name", "max_length"),
        ({"name": "two\nlines", "query": QUERY}, "name", "control_character"),
        ({"name": "x", "query": "metrics=temperature"}, "query", "no_devices"),
        ({"name": "x", "query": "device_id=a b"}, "query", "invalid_device_id"),
        ({"name": "x", "query": "tag=a,b"}, "query", "invalid_tag"),
        ({"name": "x", "query": "&".join(f"device_id=d{n}" for n in range(101))}, "query", "too_many_devices"),
        ({"name": "x", "query": "&".join(f"tag=t{n}" for n in range(11))}, "query", "too_many_tags"),
        ({"name": "x", "query": "device_id=a&metrics=Temp"}, "query", "invalid_name"),
        ({"name": "x", "query": "device_id=a&next=//evil"}, "query", "unknown_parameter"),
        ({"name": "x", "query": "nothing"}, "query", "invalid_query"),
        ({"name": "x", "query": "device_id=a&start=" + "9" * 12_000}, "query", "max_length"),
        ({"name": "x", "query": QUERY, "shared": True}, "shared", "unknown_field"),
    ],
)
def test_a_wrong_view_is_refused_by_field(admin, given, field, code):
    error = problem(admin.post(VIEWS, given), 422)["errors"][0]
    assert (error["field"], error["code"]) == (field, code)
    assert not View.objects.exists()


def test_the_number_of_views_is_bounded(admin, monkeypatch):
    monkeypatch.setattr(saved_views, "VIEWS_MAX", 1)
    save(admin)
    assert problem(save(admin, "One more"), 422)["errors"][0]["code"] == "too_many_views"


def test_a_view_may_name_tags_and_a_hundred_devices(admin):
    query = "&".join(["tag=north+beds", *(f"device_id=d{n}" for n in range(100))])
    assert save(admin, query=query).json()["query"] == query


def test_the_number_of_views_is_counted_in_turn(admin, monkeypatch):
    turns = []
    monkeypatch.setattr(saved_views, "one_at_a_time", lambda turn: turns.append((turn, connection.in_atomic_block)))
    save(admin)
    assert turns == [(Turn.VIEWS, True)]


@pytest.mark.postgresql
def test_a_view_is_locked_before_its_deletion_is_logged(admin):
    """Otherwise two requests at once would both log it."""
    view = save(admin).json()["id"]
    with CaptureQueriesContext(connection) as captured:
        admin.delete(f"{VIEWS}/{view}")
    statements = [query["sql"] for query in captured]
    locked = [n for n, sql in enumerate(statements) if "realtime_view" in sql and sql.endswith("FOR UPDATE")]
    logged = [n for n, sql in enumerate(statements) if 'INSERT INTO "django_admin_log"' in sql]
    assert len(locked) == len(logged) == 1
    assert locked < logged


def test_the_list_takes_one_query(admin, django_assert_num_queries):
    save(admin)
    save(admin, "Another")
    with django_assert_num_queries(1):
        admin.get(VIEWS)

"""`/api/v1/tags`: list, create, rename, colour and delete."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, DeviceTag, Tag
from devices.tags.names import Colour
from devices.tests.fixtures import problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/tags"


@pytest.fixture
def tagged(admin):
    for device_id, tags in {"a": ["Roof", "north"], "b": ["north"], "c": []}.items():
        assert admin.post("/api/v1/devices", {"device_id": device_id, "tags": tags}).status_code == 201
    LogEntry.objects.all().delete()


def changes():
    return [(str(entry.object_repr), entry.get_change_message()) for entry in LogEntry.objects.order_by("id")]


def counts(admin):
    return {tag["name"]: tag["devices"] for tag in admin.get(URL).json()["results"]}


def test_the_list_has_the_numbers_of_devices(admin, tagged):
    admin.post(URL, {"name": "empty"})
    assert list(counts(admin).items()) == [("empty", 0), ("north", 2), ("Roof", 1)]
    assert admin.get(URL).json()["next"] is None


def test_the_list_costs_the_same_with_more_tags(admin, tagged):
    with CaptureQueriesContext(connection) as few:
        counts(admin)
    Tag.objects.bulk_create(Tag(name=f"t{n}", key=f"t{n}", colour="grey") for n in range(20))
    with CaptureQueriesContext(connection) as many:
        counts(admin)
    assert len(few) == len(many) == 1


def test_a_tag_is_created_with_a_colour_or_gets_one(admin):
    answer = admin.post(URL, {"name": "roof", "colour": "pink"})
    assert (answer.status_code, answer.json()) == (201, {"name": "roof", "colour": "pink", "devices": 0})
    assert admin.post(URL, {"name": "north"}).json()["colour"] in Colour.values
    assert changes() == [("roof", "Added."), ("north", "Added.")]


def test_a_name_is_taken_in_any_case(admin, tagged):
    for answer in (admin.post(URL, {"name": "ROOF"}), admin.patch(f"{URL}/north", {"name": "roof"})):
        assert problem(answer, 409)["code"] == "tag_taken"
    assert counts(admin) == {"north": 2, "Roof": 1}
    assert changes() == []


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "name", "required"),
        ({"name": "a;b"}, "name", "invalid_tag"),
        ({"name": 7}, "name", "invalid"),
        ({"name": "a", "colour": "mauve"}, "colour", "invalid_choice"),
        ({"name": "a", "devices": []}, "devices", "unknown_field"),
    ],
)
def test_what_cannot_be_a_tag_is_refused(admin, body, field, code):
    (error,) = problem(admin.post(URL, body, format="json"), 422)["errors"]
    assert (error["field"], error["code"]) == (field, code)
    assert counts(admin) == {}


def test_a_tag_is_found_by_its_name_in_any_case(admin, tagged):
    assert admin.get(f"{URL}/roof").json() == admin.get(f"{URL}/ROOF").json()
    assert admin.get(f"{URL}/ROOF").json()["name"] == "Roof"


@pytest.mark.parametrize("name", ["nothing", ".", "a;b", "%00", "x" * 51, "a%0Ab", "%20"])
@pytest.mark.parametrize("method", ["get", "patch", "delete"])
def test_there_has_to_be_such_a_tag(admin, tagged, method, name):
    problem(getattr(admin, method)(f"{URL}/{name}"), 404)


def test_a_renamed_tag_keeps_its_devices(admin, tagged):
    answer = admin.patch(f"{URL}/north", {"name": "North side"})

    assert (answer.status_code, answer.json()["name"], answer.json()["devices"]) == (200, "North side", 2)
    assert admin.get("/api/v1/devices/b").json()["tags"] == ["North side"]
    problem(admin.get(f"{URL}/north"), 404)
    assert admin.patch(f"{URL}/North%20side", {"name": "NORTH SIDE"}).json()["name"] == "NORTH SIDE"
    assert changes() == [("North side", "Changed Name."), ("NORTH SIDE", "Changed Name.")]


def test_a_tag_gets_another_colour(admin, tagged):
    Tag.objects.filter(key="roof").update(colour="grey")
    assert admin.patch(f"{URL}/roof", {"colour": "brown"}).json()["colour"] == "brown"
    assert admin.patch(f"{URL}/roof", {"colour": "brown"}).status_code == 200
    assert admin.patch(f"{URL}/roof", {}).json()["colour"] == "brown"
    assert changes() == [("Roof", "Changed Colour.")]


def test_a_deleted_tag_is_taken_from_its_devices_which_stay(admin, tagged):
    assert admin.delete(f"{URL}/north").status_code == 204

    assert counts(admin) == {"Roof": 1}
    assert admin.get("/api/v1/devices/a").json()["tags"] == ["Roof"]
    assert Device.objects.count() == 3
    assert DeviceTag.objects.count() == 1
    assert changes() == [("north", "")]
    problem(admin.delete(f"{URL}/north"), 404)

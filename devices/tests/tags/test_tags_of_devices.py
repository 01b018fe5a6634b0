"""The tags of a device, where it is and its notes, in the API."""

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.models import Device, DeviceTag, Tag
from devices.tags.names import TAGS_IN_FILTER_MAX, TAGS_MAX, TAGS_OF_DEVICE_MAX, key_of
from devices.tests.fixtures import problem, staff_client

pytestmark = pytest.mark.django_db

DEVICES = "/api/v1/devices"
URL = f"{DEVICES}/mote-1"


def tags_of(admin, device_id="mote-1"):
    return admin.get(f"{DEVICES}/{device_id}").json()["tags"]


def register(admin, device_id, *tags):
    answer = admin.post(DEVICES, {"device_id": device_id, "tags": tags})
    assert answer.status_code == 201, answer.content
    return answer.json()


def listed(admin, *tags):
    answer = admin.get(DEVICES, {"tag": tags})
    assert answer.status_code == 200, answer.content
    return [device["device_id"] for device in answer.json()["results"]]


def changes():
    return [(str(entry.object_repr), entry.get_change_message()) for entry in LogEntry.objects.order_by("id")]


def test_a_device_is_registered_with_tags_which_are_made(admin):
    assert register(admin, "mote-1", "roof", "Greenhouse 3")["tags"] == ["Greenhouse 3", "roof"]
    assert tags_of(admin) == ["Greenhouse 3", "roof"]
    assert list(Tag.objects.by_name().values_list("name", flat=True)) == ["Greenhouse 3", "roof"]


def test_patch_replaces_all_tags(admin, device):
    admin.patch(URL, {"tags": ["roof", "north"]})
    assert admin.patch(URL, {"tags": ["north", "cold"]}).json()["tags"] == ["cold", "north"]
    assert admin.patch(URL, {"name": "Attic"}).json()["tags"] == ["cold", "north"]
    assert admin.patch(URL, {"tags": []}).json()["tags"] == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Roof", "roof"),
        ("STRASSE", "Straße"),
        ("Gewächshaus", "Gewa\u0308chshaus"),
        ("a b", "a  b"),
        ("Ärger", "ärger"),
    ],
)
def test_upper_and_lower_case_and_the_way_to_write_it_do_not_matter(admin, device, first, second):
    admin.patch(URL, {"tags": [first]})
    register(admin, "mote-2", second)

    assert Tag.objects.count() == 1
    assert listed(admin, second) == listed(admin, first) == ["mote-1", "mote-2"]


def test_the_same_tag_twice_is_one(admin, device):
    assert admin.patch(URL, {"tags": ["roof", "ROOF", "roof"]}).json()["tags"] == ["roof"]


@pytest.mark.parametrize(
    "name", ["greenhouse-3", "Gewächshaus Süd", "温室", "a", "x" * 50, "node:7", "🌱", "50 % shade"]
)
def test_names_of_every_language_are_tags(admin, device, name):
    assert admin.patch(URL, {"tags": [name]}).json()["tags"] == [name]
    assert listed(admin, name) == ["mote-1"]


@pytest.mark.parametrize(
    "name",
    ["", " ", " a", "a ", ".a", "a,b", "a;b", "a/b", "a\\b", 'a"b', "a\nb", "a\0b", "a\u200bb", "a\u00a0b", "a\u037eb"],
)
def test_what_cannot_be_a_tag_is_refused(admin, device, name):
    error, *_ = problem(admin.patch(URL, {"tags": ["fine", name]}, format="json"), 422)["errors"]
    assert error["field"].startswith("tags")
    assert error["code"] in ("invalid_tag", "blank", "null_characters_not_allowed")
    assert tags_of(admin) == []
    assert not Tag.objects.exists()


@pytest.mark.parametrize("tags", ["roof", None, 7, {"a": "b"}, [7], [None], [["a"]], ["x" * 51]])
def test_tags_are_a_list_of_names(admin, device, tags):
    (error,) = problem(admin.patch(URL, {"tags": tags}, format="json"), 422)["errors"]
    assert error["field"].startswith("tags")


def test_a_device_has_a_limited_number_of_tags(admin, device):
    names = [f"t{n:02}" for n in range(TAGS_OF_DEVICE_MAX)]
    assert admin.patch(URL, {"tags": names}).json()["tags"] == names

    (error,) = problem(admin.patch(URL, {"tags": [*names, "more"]}), 422)["errors"]

    assert (error["field"], error["code"]) == ("tags", "max_length")


def test_there_is_a_limited_number_of_tags(admin, device):
    Tag.objects.bulk_create(Tag(name=f"t{n}", key=f"t{n}", colour="grey") for n in range(TAGS_MAX))
    for answer in (admin.patch(URL, {"tags": ["more"]}), admin.post(DEVICES, {"device_id": "m", "tags": ["more"]})):
        (error,) = problem(answer, 422)["errors"]
        assert (error["field"], error["code"]) == ("tags", "too_many_tags")
    assert (error := problem(admin.post("/api/v1/tags", {"name": "more"}), 422)["errors"][0])["code"] == "too_many_tags"
    assert not Device.objects.filter(device_id="m").exists()
    assert admin.patch(URL, {"tags": ["t1"]}).json()["tags"] == ["t1"]


def test_who_may_not_add_tags_can_give_those_there_are(admin, device):
    Tag.objects.create(name="roof", key="roof", colour="grey")
    operator = staff_client("operator", "devices.change_device", "devices.add_device")

    assert operator.patch(URL, {"tags": ["Roof"]}).json()["tags"] == ["roof"]
    for answer in (
        operator.patch(URL, {"tags": ["roof", "attic"]}),
        operator.post(DEVICES, {"device_id": "m", "tags": ["attic"]}),
    ):
        (error,) = problem(answer, 422)["errors"]
        assert (error["field"], error["code"]) == ("tags", "unknown_tag")
        assert "'attic'" in error["detail"]
    assert tags_of(admin) == ["roof"]
    assert list(Device.objects.values_list("device_id", flat=True)) == ["mote-1"]


def test_several_tags_in_a_filter_mean_all_of_them(admin):
    register(admin, "a", "north", "roof")
    register(admin, "b", "north")
    register(admin, "c", "roof")
    register(admin, "d")

    assert listed(admin) == ["a", "b", "c", "d"]
    assert listed(admin, "north") == ["a", "b"]
    assert listed(admin, "north", "ROOF") == ["a"]
    assert listed(admin, "north", "north") == ["a", "b"]
    assert listed(admin, "nothing") == listed(admin, "north", "nothing") == []


def test_the_filter_goes_with_the_others_and_with_pages(admin):
    for n in range(5):
        register(admin, f"n-{n}", "north", "roof" if n % 2 else "attic")

    first = admin.get(f"{DEVICES}?tag=north&tag=attic&limit=2").json()
    second = admin.get(first["next"]).json()

    assert [d["device_id"] for d in (*first["results"], *second["results"])] == ["n-0", "n-2", "n-4"]
    assert second["next"] is None
    assert [d["device_id"] for d in admin.get(f"{DEVICES}?tag=north&search=n-3").json()["results"]] == ["n-3"]


@pytest.mark.parametrize("query", ["tag=", "tag=a,b", "tag=%00", "tag=" + "x" * 51, "&".join(["tag=a"] * 11), "tags=a"])
def test_a_filter_that_names_no_tag_is_refused(admin, query):
    error, *_ = problem(admin.get(f"{DEVICES}?{query}"), 422)["errors"]
    assert error["field"].startswith("tag")
    assert TAGS_IN_FILTER_MAX == 10


def test_the_list_costs_the_same_with_more_devices_and_tags(admin):
    register(admin, "a", "north")
    with CaptureQueriesContext(connection) as one:
        listed(admin, "north")
    for n in range(10):
        register(admin, f"b-{n}", "north", f"t{n}", "roof")
    with CaptureQueriesContext(connection) as many:
        listed(admin, "north")
    assert len(one) == len(many) <= 3


def test_every_change_is_logged_and_what_changes_nothing_is_not(admin, device):
    admin.patch(URL, {"tags": ["roof", "north"]})
    admin.patch(URL, {"tags": ["north", "roof"]})
    admin.patch(URL, {"tags": ["north"], "location": "Bay 4"})

    assert changes() == [
        ("north", "Added."),
        ("roof", "Added."),
        ("mote-1", "Changed Tags."),
        ("mote-1", "Changed Location and Tags."),
    ]


def test_an_error_in_another_field_changes_no_tags(admin, device):
    problem(admin.patch(URL, {"tags": ["roof"], "report_interval": 0}), 422)
    problem(admin.post(DEVICES, {"device_id": "mote-1", "tags": ["roof"]}), 409)
    assert tags_of(admin) == []
    assert not Tag.objects.exists()


def test_tagged_composes_with_locks_and_updates(admin):
    register(admin, "a", "north", "roof")
    register(admin, "b", "north")

    assert Device.objects.tagged(["north"]).select_for_update().count() == 2
    assert Device.objects.tagged(["north", "roof"]).update(name="Both") == 1
    assert Device.objects.tagged([]).count() == 2
    assert DeviceTag.objects.count() == 3
    assert key_of("NORTH") == "north"


PLACE = {"location": "Greenhouse 3, bay 4", "latitude": 52.520008, "longitude": -13.404954, "notes": "Ladder.\nKey 7."}


def test_a_device_has_a_place_and_notes(admin, device):
    assert admin.patch(URL, PLACE).json().items() >= PLACE.items()
    assert admin.get(URL).json().items() >= PLACE.items()
    assert admin.post(DEVICES, {"device_id": "m", **PLACE}).json().items() >= PLACE.items()
    emptied = {"location": "", "latitude": None, "longitude": None, "notes": ""}
    assert admin.patch(URL, emptied).json().items() >= emptied.items()


def test_a_device_does_not_see_the_notes(admin, as_device):
    admin.patch(URL, PLACE)
    shown = as_device.get(URL).json()
    assert shown["notes"] is None
    assert shown["location"] == PLACE["location"]


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"latitude": 90.1, "longitude": 0}, "latitude", "max_value"),
        ({"latitude": 0, "longitude": -180.5}, "longitude", "min_value"),
        ({"latitude": "52", "longitude": 0}, "latitude", "invalid"),
        ({"latitude": True, "longitude": 0}, "latitude", "invalid"),
        ({"latitude": 52}, "longitude", "coordinate_missing"),
        ({"longitude": 13}, "latitude", "coordinate_missing"),
        ({"location": "x" * 256}, "location", "max_length"),
        ({"location": "a\0"}, "location", "null_characters_not_allowed"),
        ({"location": None}, "location", "null"),
        ({"notes": "x" * 4001}, "notes", "max_length"),
        ({"notes": 7}, "notes", "invalid"),
    ],
)
def test_places_that_cannot_be_are_refused(admin, device, changes, field, code):
    (error,) = problem(admin.patch(URL, changes, format="json"), 422)["errors"]
    assert (error["field"], error["code"]) == (field, code)


def test_one_coordinate_can_be_changed_but_not_taken_away_alone(admin, device):
    admin.patch(URL, {"latitude": 52, "longitude": 13})
    assert admin.patch(URL, {"latitude": 53}).json()["latitude"] == 53
    (error,) = problem(admin.patch(URL, {"latitude": None}), 422)["errors"]
    assert (error["field"], error["code"]) == ("latitude", "coordinate_missing")


def test_numbers_beyond_every_range_are_refused(admin, device):
    body = '{"latitude": 1e999, "longitude": 0}'
    (error,) = problem(admin.patch(URL, body, content_type="application/json"), 422)["errors"]
    assert error["field"] == "latitude"

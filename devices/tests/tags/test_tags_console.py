"""Tags in the console: in a device's form, in the list of devices, and in their own list."""

import csv

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User

from devices.console.tags import DeviceForm, TagQuestion
from devices.models import AccountTag, Device, Tag
from devices.tags.tagging import also_uses_tags, users
from devices.tests.fixtures import staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DEVICES, TAGS = "/admin/devices/device/", "/admin/devices/tag/"
MAY = ("devices.view_device", "devices.add_device", "devices.change_device")
MAY_TAG = ("devices.view_tag", "devices.add_tag", "devices.change_tag", "devices.delete_tag")


@pytest.fixture
def operator(db):
    return staff_client("operator", *MAY, *MAY_TAG)


@pytest.fixture
def three(admin):
    for device_id, tags in {"a": ["Roof", "north"], "b": ["north"], "c": []}.items():
        assert admin.post("/api/v1/devices", {"device_id": device_id, "tags": tags}).status_code == 201
    LogEntry.objects.all().delete()


def tags_of(device_id):
    return list(Device.objects.get(device_id=device_id).tags.order_by("key").values_list("name", flat=True))


def changes():
    return [(str(entry.object_repr), entry.get_change_message()) for entry in LogEntry.objects.order_by("id")]


def change(client, device_id, **fields):
    device = Device.objects.get(device_id=device_id)
    names = ", ".join(tags_of(device_id))
    form = {"name": device.name, "is_active": "on", "tag_names": names} | fields
    return client.post(f"{DEVICES}{device.pk}/change/", form, format="multipart")


def errors(response):
    assert response.status_code == 200, response.content
    return {name: list(found) for name, found in response.context["adminform"].form.errors.items()}


def act(client, action, device_ids, **more):
    chosen = [str(pk) for pk in Device.objects.filter(device_id__in=device_ids).values_list("pk", flat=True)]
    form = {"action": action, "_selected_action": chosen, "select_across": "0"} | more
    return client.post(DEVICES, form, format="multipart")


def confirm(client, action, device_ids, tag):
    asked = act(client, action, device_ids)
    return act(client, action, device_ids, tag=tag, confirmed=asked.context["confirmed"])


def shown(client, query):
    return [device.device_id for device in client.get(f"{DEVICES}{query}").context["cl"].result_list]


def test_a_device_gets_tags_in_its_form(operator, three):
    assert change(operator, "a", tag_names="north;  Cellar ,cold", location="Bay 4", notes="Ladder").status_code == 302

    assert tags_of("a") == ["Cellar", "cold", "north"]
    assert Device.objects.get(device_id="a").location == "Bay 4"
    assert changes() == [("Cellar", "Added."), ("cold", "Added."), ("a", "Changed Tags, Location and Notes.")]


def test_another_order_or_case_of_the_names_is_no_change(operator, three):
    assert change(operator, "a", tag_names="ROOF, north").status_code == 302
    assert changes() == [("a", "No fields changed.")]


def test_a_new_device_gets_its_tags(operator):
    form = {"device_id": "m", "tag_names": "roof", "latitude": "52.5", "longitude": "13"}
    answer = operator.post(f"{DEVICES}add/", form, format="multipart")
    assert answer.status_code == 303
    assert tags_of("m") == ["roof"]
    assert Device.objects.get().longitude == 13


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"tag_names": "a/b"}, "tag_names"),
        ({"tag_names": ",".join(f"t{n}" for n in range(21))}, "tag_names"),
        ({"latitude": "52.5"}, "longitude"),
        ({"latitude": "91", "longitude": "0"}, "latitude"),
        ({"latitude": "nan", "longitude": "0"}, "latitude"),
    ],
)
def test_what_cannot_be_is_an_error_of_its_field(operator, three, fields, field):
    assert list(errors(change(operator, "a", **fields))) == [field]
    assert tags_of("a") == ["north", "Roof"]
    assert changes() == []


def test_who_may_not_add_tags_can_give_those_there_are(three):
    helper = staff_client("helper", *MAY)
    assert errors(change(helper, "c", tag_names="north, new"))["tag_names"] == [
        "There is no tag “new”, and this account may not add one."
    ]
    assert change(helper, "c", tag_names="north").status_code == 302
    assert tags_of("c") == ["north"]
    assert not confirm(helper, "add_tag", ["c"], "new").context["form"].is_valid()
    assert not Tag.objects.filter(key="new").exists()


def test_many_devices_get_a_tag(operator, three):
    assert confirm(operator, "add_tag", ["a", "b", "c"], "NORTH").status_code == 302
    assert [tags_of(device_id) for device_id in "abc"] == [["north", "Roof"], ["north"], ["north"]]
    assert changes() == [("c", "Added the tag north.")]

    confirm(operator, "add_tag", ["b", "c"], "cold")
    assert [tags_of(device_id) for device_id in "abc"] == [["north", "Roof"], ["cold", "north"], ["cold", "north"]]


def test_what_others_changed_after_the_check_is_a_message(three, monkeypatch):
    operator = staff_client("limited", *MAY)
    AccountTag.objects.create(user=User.objects.get(username="limited"), tag=Tag.objects.get(key="north"))
    monkeypatch.setattr(DeviceForm, "clean_tag_names", lambda form: form.cleaned_data["tag_names"])
    for names, words in (("north, gone", "There is no tag"), ("Roof", "limited to some tags")):
        answer = change(operator, "a", tag_names=names)
        assert answer.status_code == 302
        assert words in operator.get(answer["Location"]).content.decode()
    assert tags_of("a") == ["north", "Roof"]

    monkeypatch.setattr(TagQuestion, "clean_tag", lambda form: "gone")
    assert "There is no tag" in confirm(operator, "add_tag", ["a", "b"], "gone").content.decode()


def test_many_devices_lose_a_tag(operator, three):
    assert confirm(operator, "remove_tag", ["a", "b", "c"], "north").status_code == 302
    assert [tags_of(device_id) for device_id in "abc"] == [["Roof"], [], []]
    assert sorted(changes()) == [("a", "Removed the tag north."), ("b", "Removed the tag north.")]


def test_it_asks_first_and_again_if_the_list_has_changed(operator, three):
    asked = act(operator, "add_tag", ["a", "c"])
    again = act(operator, "add_tag", ["a", "b", "c"], tag="cold", confirmed=asked.context["confirmed"])

    assert b"The list has changed meanwhile" in again.content
    assert tags_of("c") == []


def test_a_tag_too_many_changes_no_device(operator, three):
    change(operator, "b", tag_names=",".join(f"t{n}" for n in range(20)))
    answer = confirm(operator, "add_tag", ["b", "c"], "one more")

    assert answer.context["form"].errors["tag"] == ["A device may have 20 tags, and b has as many."]
    assert tags_of("c") == []
    assert not Tag.objects.filter(key="one more").exists()


def test_the_list_shows_and_filters_by_tags(operator, three):
    assert shown(operator, "?tag=north") == ["a", "b"]
    assert shown(operator, "?tag=NORTH") == ["a", "b"]
    assert shown(operator, "?tag=nothing") == []
    page = operator.get(DEVICES).content.decode()
    assert "north (2)" in page
    assert 'data-colour="' in page


def test_the_export_has_tags_and_places(operator, three):
    change(operator, "a", location="=1+1", latitude="1", longitude="2")
    exported = act(operator, "export", ["a"])
    (row,) = csv.DictReader(exported.content.decode().splitlines())
    assert [row[name] for name in ("tags", "location", "latitude", "longitude")] == [
        "north;Roof",
        "'=1+1",
        "1.0",
        "2.0",
    ]


def test_tags_are_added_and_renamed_in_their_list(operator, three):
    assert operator.post(f"{TAGS}add/", {"name": "Cellar", "colour": "blue"}, format="multipart").status_code == 302
    Tag.objects.update(colour="grey")
    tag = Tag.objects.get(key="north")
    renamed = operator.post(f"{TAGS}{tag.pk}/change/", {"name": "North side", "colour": "red"}, format="multipart")
    assert renamed.status_code == 302
    assert tags_of("b") == ["North side"]
    assert changes() == [("Cellar", "Added."), ("North side", "Changed Name and Colour.")]
    page = operator.get(TAGS).content.decode()
    assert '<a href="/admin/devices/device/?tag=North+side">2</a>' in page


@pytest.mark.parametrize("name", ["roof", "a/b", "", "x" * 51])
def test_a_name_that_cannot_be_is_an_error(operator, three, name):
    assert list(errors(operator.post(f"{TAGS}add/", {"name": name, "colour": "blue"}, format="multipart"))) == ["name"]


def test_tags_are_deleted_one_by_one_and_together(operator, three):
    north = Tag.objects.get(key="north")
    page = operator.get(f"{TAGS}{north.pk}/delete/").content.decode()
    assert "Tag: north, of 2 devices" in page
    assert operator.post(f"{TAGS}{north.pk}/delete/", {"post": "yes"}, format="multipart").status_code == 302
    assert [tags_of(device_id) for device_id in "abc"] == [["Roof"], [], []]
    form = {"action": "delete_selected", "_selected_action": [Tag.objects.get().pk], "post": "yes"}
    assert operator.post(TAGS, form, format="multipart").status_code == 302
    assert not Tag.objects.exists()
    assert changes() == [("north", ""), ("Roof", "")]


def test_a_tag_that_something_needs_is_not_deleted(operator, three, admin):
    needs = lambda tag: ["the alarm rule Frost"] if tag.key == "north" else []  # noqa: E731
    also_uses_tags(needs)
    try:
        north = Tag.objects.get(key="north")
        assert "north: the alarm rule Frost" in operator.get(f"{TAGS}{north.pk}/delete/").content.decode()
        answer = admin.delete("/api/v1/tags/north")
        assert (answer.status_code, answer.json()["code"]) == (409, "tag_in_use")
        assert "the alarm rule Frost" in answer.json()["detail"]
        operator.post(f"{TAGS}{north.pk}/delete/", {"post": "yes"}, format="multipart")
        form = {"action": "delete_selected", "_selected_action": [north.pk], "post": "yes"}
        operator.post(TAGS, form, format="multipart")
    finally:
        users.remove(needs)
    assert tags_of("b") == ["north"]

"""The fields of a new device and their bounds."""

import pytest

from devices.models import REPORT_INTERVAL_SECONDS_MAX, Device
from devices.tests.fixtures import problem

pytestmark = pytest.mark.django_db

URL = "/api/v1/devices"


def errors(response):
    """The (field, code) of each error of a 422."""
    document = problem(response, 422)
    assert all(error["detail"] for error in document["errors"])
    return {(error["field"], error["code"]) for error in document["errors"]}


@pytest.mark.parametrize("device_id", ["a", "7", "A" * 64, "aa:bb:cc:dd:ee:ff", "70B3D57ED0001A2B", "roof.north_2-b"])
def test_it_takes_every_usual_kind_of_id(admin, device_id):
    assert admin.post(URL, {"device_id": device_id}).json()["device_id"] == device_id


@pytest.mark.parametrize(
    "device_id",
    [
        "mote\n",
        "mote-9\n",
        "\nmote",
        " mote",
        "mote ",
        "-mote",
        ".mote",
        ":mote",
        "_mote",
        "a b",
        "a/b",
        "möte",
        "مote",
        "a%",
    ],
)
def test_it_refuses_an_id_of_another_form(admin, device_id):
    assert errors(admin.post(URL, {"device_id": device_id})) == {("device_id", "invalid_device_id")}
    assert not Device.objects.exists()


@pytest.mark.parametrize(
    ("device_id", "code"),
    [("", "blank"), (None, "null"), (7, "invalid"), (True, "invalid"), ([], "invalid"), ({}, "invalid")],
)
def test_it_refuses_an_id_that_is_no_text(admin, device_id, code):
    assert errors(admin.post(URL, {"device_id": device_id})) == {("device_id", code)}


def test_it_refuses_an_id_over_64_characters(admin):
    assert ("device_id", "max_length") in errors(admin.post(URL, {"device_id": "a" * 65}))


def test_it_refuses_an_id_with_a_nul(admin):
    assert ("device_id", "null_characters_not_allowed") in errors(admin.post(URL, {"device_id": "mote\0"}))


def test_it_needs_an_id(admin):
    assert errors(admin.post(URL, {"name": "Roof"})) == {("device_id", "required")}


@pytest.mark.parametrize("name", ["", " Roof ", "Dach, Süd ☀", "a" * 255])
def test_it_takes_a_name_as_it_is(admin, name):
    assert admin.post(URL, {"device_id": "mote-9", "name": name}).json()["name"] == name


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a" * 256, "max_length"),
        ("Ro\0of", "null_characters_not_allowed"),
        (None, "null"),
        (7, "invalid"),
        (False, "invalid"),
        (["Roof"], "invalid"),
    ],
)
def test_it_refuses_a_name_that_is_none(admin, name, code):
    assert errors(admin.post(URL, {"device_id": "mote-9", "name": name})) == {("name", code)}


@pytest.mark.parametrize("seconds", [1, REPORT_INTERVAL_SECONDS_MAX, None])
def test_it_takes_a_report_interval_up_to_its_bounds(admin, seconds):
    assert admin.post(URL, {"device_id": "mote-9", "report_interval": seconds}).json()["report_interval"] == seconds


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (0, "min_value"),
        (-1, "min_value"),
        (REPORT_INTERVAL_SECONDS_MAX + 1, "max_value"),
        (10**30, "max_value"),
        ("30", "invalid"),
        (1.5, "invalid"),
        (True, "invalid"),
        ([30], "invalid"),
    ],
)
def test_it_refuses_any_other_report_interval(admin, seconds, code):
    assert errors(admin.post(URL, {"device_id": "mote-9", "report_interval": seconds})) == {("report_interval", code)}


@pytest.mark.parametrize(("number", "code"), [("1e999", "invalid"), ("1" + "0" * 400, "max_value")])
def test_it_refuses_a_report_interval_beyond_all_numbers(admin, number, code):
    body = f'{{"device_id": "mote-9", "report_interval": {number}}}'

    assert errors(admin.post(URL, body, content_type="application/json")) == {("report_interval", code)}


def test_a_whole_number_may_be_written_with_a_point(admin):
    assert admin.post(URL, {"device_id": "mote-9", "report_interval": 60.0}).json()["report_interval"] == 60


def test_it_names_every_field_that_is_wrong(admin):
    wrong = {"device_id": "-", "name": 7, "report_interval": 0}

    assert {field for field, _ in errors(admin.post(URL, wrong))} == {"device_id", "name", "report_interval"}


@pytest.mark.parametrize("field", ["nmae", "api_key", "is_active", "id", ""])
def test_it_refuses_a_field_that_there_is_not(admin, field):
    assert errors(admin.post(URL, {"device_id": "mote-9", field: "x"})) == {(field, "unknown_field")}
    assert not Device.objects.exists()


@pytest.mark.parametrize("body", ["[]", '[{"device_id": "mote-9"}]', '"mote-9"', "7", "true", "null"])
def test_it_refuses_what_is_no_object(admin, body):
    ((field, _code),) = errors(admin.post(URL, body, content_type="application/json"))
    assert field == ""

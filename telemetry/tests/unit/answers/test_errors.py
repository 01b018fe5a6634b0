import json
from typing import Any

import pytest

from devices.tests.fixtures import problem, staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DEVICES = "/api/v1/devices"
BROWSER: dict[str, Any] = {"HTTP_ACCEPT": "text/html,application/xhtml+xml,*/*;q=0.8"}
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    415: "Unsupported media type",
    422: "Invalid values",
    500: "Internal error",
}


@pytest.fixture
def broken_listing(monkeypatch):
    def fail(*_args, **_kwargs):
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr("devices.api.views.DeviceViewSet.list", fail)


def shape(response, status, code):
    """Asserts that this is a problem document with that status and all members of RFC 9457; returns it."""
    document = problem(response, status)
    assert document["type"] == "about:blank"
    assert document["title"] == TITLES[status]
    assert document["code"] == code
    assert document["detail"]
    assert ("errors" in document) == (status == 422)
    return document


@pytest.mark.parametrize(
    "body",
    ["{", "nul", "{'a': 1}", '{"a": NaN}', '{"a": Infinity}', "[1,]", " ", "\0", "[" * 100_000, '{"a":' * 100_000],
    ids=lambda body: body[:12],
)
@pytest.mark.parametrize("path", ["devices", "ingest", "ingest/batch"])
def test_malformed_json_is_a_400(admin, as_device, path, body):
    client = admin if path == "devices" else as_device

    shape(client.post(f"/api/v1/{path}", body, content_type="application/json"), 400, "malformed")


@pytest.mark.parametrize("body", [b"\xff", b'{"device_id": "\xff"}', b'{"device_id": "\\ud800"}', b"\xff\xfe{\0}\0"])
def test_text_that_is_no_utf_8_is_a_400(admin, body):
    shape(admin.generic("POST", DEVICES, body, content_type="application/json"), 400, "malformed")


def test_no_key_is_a_401(anyone):
    shape(anyone.get(DEVICES), 401, "not_authenticated")


def test_a_wrong_key_is_a_401(anyone):
    shape(anyone.get(DEVICES, HTTP_X_API_KEY="wrong"), 401, "invalid_key")


def test_a_401_comes_before_everything_that_is_wrong_with_the_request(anyone):
    for response in (
        anyone.post(DEVICES, "{", content_type="application/json"),
        anyone.post(DEVICES, "<xml/>", content_type="text/xml"),
        anyone.put(DEVICES),
        anyone.get(f"{DEVICES}?status=sleeping"),
        anyone.get(f"{DEVICES}/mote-99"),
    ):
        problem(response, 401)


def test_what_a_key_may_not_do_is_a_403(fleet):
    shape(fleet.get(DEVICES), 403, "permission_denied")


def test_a_device_that_there_is_not_is_a_404(admin):
    shape(admin.get(f"{DEVICES}/mote-99"), 404, "not_found")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/devices", "/api/"])
def test_below_api_an_unknown_address_is_a_problem_for_browsers_too(anyone, path):
    shape(anyone.get(path, **BROWSER), 404, "not_found")


def test_elsewhere_an_unknown_address_is_a_page_in_a_browser(anyone):
    response = anyone.get("/nothing", **BROWSER)

    assert response.status_code == 404
    assert response["Content-Type"].startswith("text/html")
    assert "Not found" in response.content.decode()
    assert response["X-Request-ID"] in response.content.decode()


def test_elsewhere_an_unknown_address_is_a_problem_to_a_program(anyone):
    shape(anyone.get("/nothing"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", DEVICES, {"GET", "POST"}),
        ("PUT", f"{DEVICES}/mote-1", {"GET", "PATCH", "DELETE"}),
        ("POST", f"{DEVICES}/mote-1/history", {"GET"}),
        ("GET", "/api/v1/ingest", {"POST"}),
        ("OPTIONS", "/api/v1/ingest", {"POST"}),
    ],
)
def test_another_method_is_a_405_that_names_those_there_are(admin, method, path, allowed):
    response = admin.generic(method, path)

    shape(response, 405, "method_not_allowed")
    assert set(response["Allow"].split(", ")) - {"HEAD", "OPTIONS"} == allowed


def test_another_method_on_health_is_a_405_like_any_other(anyone):
    response = anyone.post("/health")

    shape(response, 405, "method_not_allowed")
    assert "GET" in response["Allow"]


def test_a_device_id_that_is_taken_is_a_409(admin, device):
    shape(admin.post(DEVICES, {"device_id": "mote-1"}), 409, "device_id_taken")


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
)
@pytest.mark.parametrize("path", ["devices", "ingest", "ingest/batch"])
def test_another_media_type_is_a_415(admin, as_device, path, media_type):
    client = admin if path == "devices" else as_device

    shape(client.generic("POST", f"/api/v1/{path}", b"temperature=1", media_type), 415, "unsupported_media_type")


def test_json_may_name_its_charset(admin):
    response = admin.generic("POST", DEVICES, b'{"device_id": "mote-9"}', "application/json; charset=utf-8")

    assert response.status_code == 201


def test_invalid_values_are_a_422_that_says_which(admin):
    document = shape(admin.post(DEVICES, {"device_id": "-", "name": 7}), 422, "invalid")

    assert [error["field"] for error in document["errors"]] == ["device_id", "name"]
    assert all(error.keys() == {"field", "code", "detail"} for error in document["errors"])
    assert document["detail"] == f"device_id: {document['errors'][0]['detail']}"


def test_a_fault_of_ours_is_a_500_that_keeps_it_to_itself(admin, broken_listing):
    response = admin.get(DEVICES)

    shape(response, 500, "internal_error")
    assert "secret" not in response.content.decode()


def test_a_fault_of_ours_is_logged_under_the_request_s_id(admin, broken_listing, caplog):
    admin.get(DEVICES)

    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "a secret of ours" in str(record.exc_info)


def test_a_fault_of_ours_is_a_page_in_a_browser(device, monkeypatch):
    client = staff_client("operator", "readings.view_reading")
    monkeypatch.setattr("realtime.pages.device.render", lambda *_args: 1 / 0)

    response = client.get("/live/mote-1/", **BROWSER)

    assert response.status_code == 500
    assert response["X-Request-ID"] in response.content.decode()


def test_an_unknown_host_is_a_400_that_says_what_to_do(anyone):
    document = shape(anyone.get(DEVICES, HTTP_HOST="elsewhere.example"), 400, "bad_request")

    assert "ALLOWED_HOSTS" in document["detail"]


@pytest.mark.parametrize("accept", ["application/xml", "text/html", "image/*", "nonsense", ""])
def test_no_accept_header_is_refused(admin, accept):
    response = admin.get(DEVICES, HTTP_ACCEPT=accept)

    assert response.status_code == 200
    assert json.loads(response.content) == {"results": [], "next": None}

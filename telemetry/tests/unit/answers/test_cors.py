"""Pages of `ALLOWED_ORIGINS` may call the API with a key, and without cookies; other pages may not."""

import pytest

from devices.tests.fixtures import staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

OURS, FOREIGN = "https://app.example.org", "https://evil.example.net"
URL = "/api/v1/devices"
ALLOW = "Access-Control-Allow-Origin"


@pytest.fixture(autouse=True)
def allowed(settings):
    settings.CORS_ALLOWED_ORIGINS = [OURS]


def preflight(client, path=URL, origin=OURS):
    asked = {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "PATCH", "HTTP_ACCESS_CONTROL_REQUEST_HEADERS": "x-api-key"}
    return client.options(path, HTTP_ORIGIN=origin, **asked)


def test_a_listed_origin_reads_with_a_key(admin, device):
    answer = admin.get(URL, HTTP_ORIGIN=OURS)
    assert (answer.status_code, answer[ALLOW]) == (200, OURS)
    assert "Access-Control-Allow-Credentials" not in answer
    assert "origin" in answer["Vary"].lower()


def test_errors_can_be_read_too(anyone):
    answer = anyone.get(URL, HTTP_ORIGIN=OURS)
    assert (answer.status_code, answer[ALLOW]) == (401, OURS)
    assert "retry-after" in answer["Access-Control-Expose-Headers"]


def test_the_browser_learns_beforehand_what_is_allowed(anyone):
    answer = preflight(anyone)
    assert (answer.status_code, answer[ALLOW]) == (200, OURS)
    assert "x-api-key" in answer["Access-Control-Allow-Headers"]
    assert "PATCH" in answer["Access-Control-Allow-Methods"]


@pytest.mark.parametrize("path", ["/api/v1/ingest", "/api/v1/ingest/batch", "/api/v1/doors/ttn", "/live/", "/admin/"])
def test_neither_the_paths_of_devices_nor_pages_answer_it(admin, path):
    assert ALLOW not in preflight(admin, path)
    assert ALLOW not in admin.get(path, HTTP_ORIGIN=OURS)


def test_another_origin_is_allowed_nothing(admin, device):
    assert ALLOW not in preflight(admin, origin=FOREIGN)
    assert ALLOW not in admin.get(URL, HTTP_ORIGIN=FOREIGN)


def test_a_session_is_no_use_to_another_origin(device):
    """The browser sends no cookie unless the answer allows credentials; a change needs the CSRF token besides."""
    answer = staff_client("viewer", "devices.view_device").get(URL, HTTP_ORIGIN=OURS)
    assert "Access-Control-Allow-Credentials" not in answer

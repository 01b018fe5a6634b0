"""Request ids and optional slashes."""

import re

import pytest

from devices.tests.fixtures import ADMIN_KEY, problem
from telemetry.monitoring.logging import add_request

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DEVICES = "/api/v1/devices"


@pytest.mark.parametrize("given", ["abc", "0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b", "a.b_c-D", "x" * 64])
def test_a_request_keeps_the_id_it_brings(admin, given):
    assert admin.get(DEVICES, HTTP_X_REQUEST_ID=given)["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "a b", "a\nb", "é", "<script>", "a;b", "a\n", ADMIN_KEY, "tlm_" + "x" * 32]
)
def test_an_id_of_another_form_is_replaced(admin, given):
    assert re.fullmatch("[0-9a-f]{32}", admin.get(DEVICES, HTTP_X_REQUEST_ID=given)["X-Request-ID"])


def test_every_request_has_an_id_of_its_own(admin):
    assert len({admin.get(DEVICES)["X-Request-ID"] for _ in range(5)}) == 5


@pytest.mark.parametrize("path", [DEVICES, "/health", "/nothing", "/api/v1/nothing", "/", "/docs", "/admin/login/"])
def test_every_answer_has_the_id(anyone, path):
    assert anyone.get(path, HTTP_X_REQUEST_ID="abc")["X-Request-ID"] == "abc"


def test_an_error_names_the_id(anyone):
    assert problem(anyone.get(DEVICES, HTTP_X_REQUEST_ID="abc"), 401)["request_id"] == "abc"


def test_what_is_logged_meanwhile_has_the_id(anyone):
    anyone.get(DEVICES, HTTP_X_REQUEST_ID="abc")

    assert add_request(None, "", {}) == {"request_id": "abc"}


@pytest.mark.parametrize("path", [DEVICES, f"{DEVICES}/mote-1", f"{DEVICES}/mote-1/history", "/health"])
def test_a_slash_at_the_end_makes_no_difference(admin, device, path):
    without, with_slash = admin.get(path), admin.get(f"{path}/")

    assert without.status_code == with_slash.status_code == 200
    assert without.content == with_slash.content


@pytest.mark.parametrize("path", ["/docs/", "/redoc/"])
def test_the_documentation_may_end_with_a_slash_too(anyone, path):
    assert anyone.get(path).status_code == 200


@pytest.mark.parametrize("slash", ["", "/"])
def test_a_post_is_never_redirected(admin, as_device, slash):
    for client, path, body in (
        (admin, DEVICES, {"device_id": "mote-9"}),
        (admin, f"{DEVICES}/mote-9/rotate-key", {}),
        (as_device, "/api/v1/ingest", {"temperature": 1}),
        (as_device, "/api/v1/ingest/batch", [{"temperature": 1}]),
        (admin, "/api/v1/realtime/tickets", {}),
    ):
        assert client.post(f"{path}{slash}", body).status_code in (200, 201)


@pytest.mark.parametrize("method", ["patch", "delete"])
def test_nor_is_any_other_change(admin, device, method):
    assert getattr(admin, method)(f"{DEVICES}/mote-1/").status_code in (200, 204)


def test_an_unknown_address_is_not_redirected_either(anyone):
    problem(anyone.post("/api/v1/nothing", {}), 404)
    problem(anyone.post("/api/v1/nothing/", {}), 404)


def test_the_next_page_has_the_address_that_was_asked_for(admin, device, other_device):
    following = admin.get(f"{DEVICES}/?limit=1").json()["next"]

    assert [shown["device_id"] for shown in admin.get(following).json()["results"]] == ["mote-2"]


def test_no_cache_keeps_what_a_key_was_answered(admin, device):
    for path in (DEVICES, f"{DEVICES}/mote-1", f"{DEVICES}/mote-1/history", "/api/v1/nothing"):
        assert admin.get(path)["Cache-Control"] == "private, no-store"

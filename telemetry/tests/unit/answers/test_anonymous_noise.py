"""Invalid requests cost one short log line, and no cache may keep answers to an account."""

import logging

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from devices.tests.fixtures import new_client, staff_client
from telemetry.tests.support.routes import routes

pytestmark = [pytest.mark.django_db, pytest.mark.once]

LINE_CHARACTERS = 700
JUNK = "\x01\xff;=%00,\\\"'" * 30


@pytest.fixture
def records():
    """The lines at INFO and above of all loggers, as the product's logging configuration passes them on."""
    found = []

    class Collector(logging.Handler):
        def emit(self, record):
            found.append(record)

    handler, root = Collector(logging.INFO), logging.getLogger()
    root.addHandler(handler)
    yield found
    root.removeHandler(handler)


def many(fields):
    return "&".join(f"a{n}=1" for n in range(fields))


FORM = "application/x-www-form-urlencoded"
BROKEN = "multipart/form-data; boundary=x"
SENT = {
    "wrong host": lambda client: client.get("/", HTTP_HOST="evil.example.net"),
    "wrong host of a page": lambda client: client.get(
        "/admin/login/", HTTP_HOST="evil.example.net", HTTP_ACCEPT="text/html"
    ),
    "wrong host of the api": lambda client: client.get("/api/v1/devices", HTTP_HOST="x" * 5000),
    "no host at all": lambda client: client.get("/guide", HTTP_HOST="a b\r\nc: \\"),
    "many fields": lambda client: client.generic("POST", "/admin/login/", many(1001), FORM),
    "many parameters": lambda client: client.get(f"/admin/login/?{many(1001)}"),
    "a broken form": lambda client: client.generic("POST", "/admin/login/", b"--x\r\nfoo", BROKEN),
    "a broken boundary": lambda client: client.generic(
        "POST", "/admin/login/", b"", "multipart/form-data; boundary=\xff"
    ),
    "no token": lambda client: client.post("/admin/login/", {"username": "x"}, format="multipart"),
    "a foreign page": lambda client: client.post(
        "/admin/login/", {}, format="multipart", HTTP_ORIGIN="https://evil.example.net"
    ),
    "bad cookies": lambda client: client.get(
        "/admin/", HTTP_COOKIE=f"sessionid={JUNK}; csrftoken={JUNK}; messages={JUNK}"
    ),
    "bad cookies to a form": lambda client: client.post(
        "/admin/login/", {}, format="multipart", HTTP_COOKIE="csrftoken=x; messages=x"
    ),
    "a strange path": lambda client: client.get("/admin/%00%ff%0d%0a/../x"),
    "a long path": lambda client: client.get("/" + "x" * 5000),
    "a way on elsewhere": lambda client: client.get("/admin/login/?next=ftp://evil.example.net"),
    "an unknown method": lambda client: client.generic("BREW", "/admin/login/"),
}


@pytest.mark.parametrize("sent", SENT)
def test_a_bad_request_is_one_short_line(records, sent):
    response = SENT[sent](new_client(enforce_csrf=True))

    assert response.status_code < 500
    assert [record.name for record in records] == ["telemetry.requests"]
    for record in records:
        assert record.levelno <= logging.WARNING
        assert record.exc_info is None
        assert len(record.getMessage() + getattr(record, "reason", "")) < LINE_CHARACTERS
        assert "\n" not in getattr(record, "reason", "")


def test_the_line_has_the_reason(records):
    new_client().get("/", HTTP_HOST="evil.example.net")

    assert "evil.example.net" in records[0].reason


def test_a_form_without_its_token_is_answered_with_a_page_of_ours():
    client = new_client(enforce_csrf=True)
    page = client.post("/admin/login/", {"username": "x"}, format="multipart", HTTP_ACCEPT="text/html")

    assert page.status_code == 403
    assert "Load the page again" in page.content.decode()


def addresses():
    for route in routes():
        if "<" not in route.path and "(" not in route.path and "GET" in route.methods:
            yield reverse(route.name)
    yield from ("/guide/security", "/live/mote-1/", "/admin/devices/device/", "/admin/nothing/")


def test_what_an_account_is_answered_is_kept_by_no_cache(device):
    client = staff_client("someone-by-name")
    User.objects.filter(username="someone-by-name").update(is_superuser=True)
    kept = []

    for address in sorted(set(addresses())):
        response = client.get(address)
        depends = "Cookie" in response.get("Vary", "") or b"someone-by-name" in getattr(response, "content", b"")
        control = response.get("Cache-Control", "")
        if depends and not ("private" in control and "no-store" in control):
            kept.append((address, control))

    assert kept == []


@pytest.mark.parametrize("path", ["/guide", "/docs", "/redoc", "/admin/password_change/", "/admin/jsi18n/"])
def test_pages_that_name_the_account_are_private(path):
    assert staff_client("someone").get(path)["Cache-Control"] == "private, no-store"

"""Every answer has the policy: only resources of this server, and no inline script or style."""

import pytest

from devices.tests.fixtures import staff_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]


def policy_of(response):
    pairs = (part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
    return dict(pairs)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/admin/",
        "/admin/login/",
        "/live/",
        "/guide",
        "/docs",
        "/health",
        "/api/v1/devices",
        "/static/realtime/live.js",
    ],
)
def test_nothing_runs_or_loads_that_is_not_ours(anyone, path):
    policy = policy_of(anyone.get(path))
    assert policy["default-src"] == "'self'"
    assert (policy["object-src"], policy["base-uri"], policy["frame-ancestors"]) == ("'none'",) * 3
    assert "unsafe" not in str(policy)


def test_redoc_alone_may_write_styles_and_that_is_all_it_may_more(anyone):
    ours, wider = policy_of(anyone.get("/docs")), policy_of(anyone.get("/redoc/"))
    assert dict(wider.items() - ours.items()) == {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"}
    assert wider["default-src"] == "'self'"


def test_an_error_has_it_too(anyone):
    assert "default-src 'self'" in anyone.get("/nowhere", headers={"Accept": "text/html"})["Content-Security-Policy"]


def test_no_page_has_a_style_or_a_script_in_it():
    import re

    client = staff_client("root", "readings.view_reading", "devices.view_device", "devices.add_device")
    for path in ("/admin/", "/admin/devices/device/", "/admin/devices/device/add/", "/live/", "/guide", "/docs"):
        page = client.get(path).content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page), path
        for attributes in re.findall(r"<script([^>]*)>", page):
            assert "src=" in attributes or 'type="application/json"' in attributes, path

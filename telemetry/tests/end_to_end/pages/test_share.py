"""A link to a view in a browser that is not signed in: live, and gone within a second when it is ended."""

import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from telemetry.tests.end_to_end.pages.test_pages import SIZES, fill
from telemetry.tests.support.browser import CHROMIUM, barriers, faults_of, serious
from telemetry.tests.support.servers.server import ADMIN_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.once,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        fill(server)
        yield server


def ask(server: Server, method: str, path: str, **body: Any) -> Any:
    answer = httpx.request(method, f"{server.url}/api/v1/{path}", json=body, headers={"X-API-Key": ADMIN_KEY})
    assert answer.is_success, answer.text
    return answer.json() if answer.content else None


def test_a_view_is_shared_on_its_page_watched_without_an_account_and_ended(
    browser: Any, server: Server, account: Any
) -> None:
    view = ask(server, "POST", "views", name="North", query="device_id=north&metrics=temperature&range=1h")
    own = browser.new_context(viewport={"width": 1280, "height": 860}, storage_state=account)
    page = own.new_page()
    page.goto(f"{server.url}/explore/")
    page.get_by_role("button", name="Share the view North").click()
    page.get_by_role("button", name="Make a link").click()
    url = page.get_by_label("The link", exact=True).input_value()
    expect(page.locator(".shares li")).to_have_count(1)
    assert barriers(page) == []

    for size, (width, height) in SIZES.items():
        context = browser.new_context(viewport={"width": width, "height": height})
        wall = context.new_page()
        faults = faults_of(wall)
        wall.goto(f"{url}?theme=dark")
        expect(wall.locator(".lines tbody th")).to_have_text(["north"])
        expect(wall.locator("#connection")).to_have_text("live")
        assert barriers(wall) == []
        assert wall.evaluate("document.documentElement.scrollWidth <= innerWidth"), size
        assert wall.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
        assert serious(faults) == []
        if size != list(SIZES)[-1]:
            context.close()

    key = ask(server, "POST", "devices/north/rotate-key", overlap_seconds=0)["api_key"]
    httpx.post(f"{server.url}/api/v1/ingest", json={"temperature": 77.25}, headers={"X-API-Key": key})
    expect(wall.locator(".lines .max")).to_have_text("77.25", timeout=10_000)

    began = time.monotonic()
    ask(server, "DELETE", f"views/{view['id']}/shares")
    expect(wall.locator("#failure")).to_have_text(re.compile("withdrawn"), timeout=1_500)
    assert time.monotonic() - began < 1.5
    expect(wall.locator(".overlay")).to_have_count(0)
    wall.reload()
    expect(wall.get_by_role("heading")).to_have_text("This link has ended")
    own.close()
    context.close()

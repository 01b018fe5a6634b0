"""What a new user does in the first minute, in a browser."""

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from telemetry.tests.browser import CHROMIUM, chromium, faults_of, serious, sign_in
from telemetry.tests.server import ADMIN_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), demo=True) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser, server: Server) -> Iterator[Page]:
    """A signed-in page, on which nothing may go wrong until the test is over."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    faults = faults_of(page)
    sign_in(page, server.url, server.printed(r"Password\s+(\S+)"))
    yield page
    context.close()
    assert serious(faults) == []


def post(server: Server, key: str, reading: dict[str, float]) -> None:
    response = httpx.post(f"{server.url}/api/v1/ingest", json=reading, headers={"X-API-Key": key})
    assert response.status_code == 201, response.text


def new_device(server: Server, device_id: str) -> str:
    response = httpx.post(
        f"{server.url}/api/v1/devices", json={"device_id": device_id}, headers={"X-API-Key": ADMIN_KEY}
    )
    return str(response.json()["api_key"])


def value(metric: str) -> str:
    return f'[data-metric="{metric}"] .number'


def test_the_demo_device_moves_and_a_posted_reading_arrives(page, server):
    page.goto(f"{server.url}/live/demo/")
    expect(page.locator("#connection")).to_have_text("live")
    before = page.text_content("#last-seq")
    expect(page.locator("#last-seq")).not_to_have_text(before)

    page.evaluate(
        """() => { window.shown = []; new MutationObserver(() =>
            window.shown.push(document.querySelector('[data-metric="temperature"] .number').textContent)
        ).observe(document.querySelector('[data-metric="temperature"] .number'), {childList: true}); }"""
    )
    post(server, server.printed(r'X-API-Key: (\S+)"'), {"temperature": 35})
    page.wait_for_function("window.shown.includes('35')", timeout=2000)


def test_a_new_device_gets_its_key_and_its_page_waits_for_the_first_reading(page, server):
    page.goto(f"{server.url}/admin/devices/device/add/")
    page.fill("#id_device_id", "greenhouse-7")
    page.click("input[name=_save]")
    key = page.text_content("#api-key") or ""
    page.click("text=Watch it live")
    expect(page.locator("#empty")).to_be_visible()

    post(server, key.strip(), {"humidity": 61.5, "soil_moisture": 0.31})

    expect(page.locator(value("humidity"))).to_have_text("61.5")
    expect(page.locator(value("soil_moisture"))).to_have_text("0.31")
    expect(page.locator("#empty")).to_be_hidden()


def test_the_page_ends_complete_after_its_connection_was_lost(page, server):
    key = new_device(server, "attic")
    sockets: list[WebSocketRoute] = []
    away = False

    def connect(socket: WebSocketRoute) -> None:
        if away:
            socket.close(code=1011)
        else:
            socket.connect_to_server()
            sockets.append(socket)

    page.route_web_socket(re.compile("/realtime/"), connect)
    page.goto(f"{server.url}/live/attic/")
    post(server, key, {"temperature": 1})
    expect(page.locator("#last-seq")).to_have_text("1")

    away = True
    sockets.pop().close(code=1011)
    expect(page.locator("#connection")).to_have_text("offline")
    for number in range(2, 6):
        post(server, key, {"temperature": number})
    away = False

    expect(page.locator("#connection")).to_have_text("live", timeout=15_000)
    expect(page.locator("#last-seq")).to_have_text("5")
    expect(page.locator(value("temperature"))).to_have_text("5")


def test_the_documentation_needs_nothing_from_elsewhere(page, server):
    page.goto(f"{server.url}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    page.goto(f"{server.url}/redoc")
    expect(page.get_by_role("heading", name="Store one reading")).to_be_visible()


def test_a_page_that_is_not_there_says_so(browser, server):
    page = browser.new_page()
    page.goto(f"{server.url}/nowhere")
    expect(page.locator("h1")).to_have_text("Not found")
    page.close()

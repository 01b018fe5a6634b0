"""A new user's first minute in a browser: from no device to a chart that moves."""

import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, WebSocketRoute, expect

from realtime.network import network_address
from telemetry.tests.support.browser import CHROMIUM, barriers, faults_of, serious
from telemetry.tests.support.servers.server import Server

pytestmark = [
    pytest.mark.once,
    pytest.mark.e2e,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def page(browser: Browser, server: Server, account: Any) -> Iterator[Page]:
    """A signed-in page; the test fails if an error occurs on it."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, permissions=["clipboard-write"], storage_state=account
    )
    page = context.new_page()
    faults = faults_of(page)
    page.goto(f"{server.url}/admin/")
    yield page
    context.close()
    assert serious(faults) == []


def add_device(page: Page, device_id: str) -> str:
    """Adds a device in the console; returns its key from the page."""
    page.goto(page.url.split("/admin")[0] + "/admin/devices/device/add/")
    page.fill("#id_device_id", device_id)
    page.click("input[name=_save]")
    page.wait_for_selector("#tab-curl[tabindex='0']")  # set by the page's script when it starts
    return (page.text_content("#api-key") or "").strip()


def post(server: Server, key: str, reading: dict[str, float]) -> None:
    response = httpx.post(f"{server.url}/api/v1/ingest", json=reading, headers={"X-API-Key": key})
    assert response.status_code == 201, response.text


def seconds_shown(page: Page) -> float:
    """The length of the visible window, from the CSV link."""
    query = httpx.URL(page.get_attribute("#csv", "href") or "").params
    start, end = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
    return (end - start).total_seconds()


def value(metric: str) -> str:
    return f'[data-metric="{metric}"] .number'


@pytest.mark.main
def test_from_nothing_to_the_first_reading(page, server):
    """Must be the first test, because only then is there no device. It opens the URL without a path."""
    page.goto(server.url)
    expect(page.get_by_role("heading", name="No devices yet")).to_be_visible()
    (button,) = page.locator("main .action").all()
    button.click()
    page.fill("#id_device_id", "greenhouse-7")
    page.fill("#id_name", "Greenhouse, north")
    page.click("input[name=_save]")
    expect(page.locator("#arrival-word")).to_contain_text("Waiting for the first reading")
    expect(page.locator("#arrival")).not_to_have_class(re.compile("green"))

    page.get_by_role("button", name="Send a test reading").click()

    expect(page.locator("#arrival")).to_have_class(re.compile("green"))
    expect(page.locator("#arrival-word")).to_contain_text("The first reading has arrived.")
    expect(page.locator("#arrival-detail")).to_have_text("#1: temperature 21.5 °C")
    page.get_by_role("link", name="Open the device's page").click()
    expect(page.locator(value("temperature"))).to_have_text("21.5")
    expect(page.locator("#connection")).to_have_text("live")
    expect(page.locator("#status")).to_have_text("online")


def test_the_code_on_the_page_has_the_address_and_the_key_in_it_and_works_as_pasted(page, server):
    key = add_device(page, "desk")
    page.click("#copy-key")
    expect(page.locator("#copy-key")).to_have_text("Copied")
    # The server listens on this machine only, so code for this machine has that address.
    network = server.url.replace("127.0.0.1", network_address() or "127.0.0.1")
    for name in ("Python", "Arduino", "MicroPython", "ESPHome", "Home Assistant", "curl"):
        page.get_by_role("tab", name=name, exact=True).click()
        code = page.locator('[role="tabpanel"]:not([hidden]) pre')
        expect(code).to_be_visible()
        address = server.url if name in ("Python", "curl") else network
        expect(code).to_contain_text(f"{address}/api/v1/ingest")
        expect(code).to_contain_text(key)
    pasted = shlex.split((code.text_content() or "").replace("\\\n", ""))
    url, options = pasted[3], list(zip(pasted[4::2], pasted[5::2], strict=True))
    headers = dict(value.split(": ", 1) for name, value in options if name == "-H")
    assert httpx.post(url, content=dict(options)["-d"], headers=headers).status_code == 201
    expect(page.locator("#arrival")).to_have_class(re.compile("green"))


def test_tabs_go_by_the_arrow_keys(page):
    add_device(page, "keyboard")
    page.locator("#tab-curl").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python", exact=True)).to_be_focused()
    expect(page.locator("#code-python")).to_be_visible()
    expect(page.locator("#code-curl")).to_be_hidden()


def test_a_post_that_is_refused_shows_up_while_the_page_waits(page, server):
    key = add_device(page, "misspelt")
    httpx.post(f"{server.url}/api/v1/ingest", json={"temperature": 1}, headers={"X-API-Key": key[:-3] + "xyz"})
    httpx.post(f"{server.url}/api/v1/ingest", json={"temperature": "warm"}, headers={"X-API-Key": key})
    expect(page.locator("#refused")).to_contain_text("Invalid key", timeout=15_000)
    expect(page.locator("#refused")).to_contain_text("temperature", timeout=15_000)


def test_a_new_devices_page_waits_and_shows_whatever_it_measures(page, server):
    key = add_device(page, "attic")
    page.click("#watch")
    expect(page.locator("#empty")).to_be_visible()

    post(server, key, {"humidity": 61.5, "soil_moisture": 0.31})

    expect(page.locator(value("humidity"))).to_have_text("61.5")
    expect(page.locator(value("soil_moisture"))).to_have_text("0.31")
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.locator("#arrived")).to_be_visible()
    expect(page.get_by_role("button", name="All")).to_have_attribute("aria-pressed", "true")
    assert round(seconds_shown(page)) == 60
    page.reload()
    expect(page.locator(value("humidity"))).to_have_text("61.5")
    assert 60 <= round(seconds_shown(page)) < 90


def test_pages_say_that_their_connection_is_lost_and_end_complete(page, server):
    key = add_device(page, "cellar")
    sockets: list[WebSocketRoute] = []
    away = False

    def connect(socket: WebSocketRoute) -> None:
        if away:
            socket.close(code=1011)
        else:
            socket.connect_to_server()
            sockets.append(socket)

    page.context.route_web_socket(re.compile("/realtime/"), connect)
    page.goto(f"{server.url}/live/cellar/")
    fleet = page.context.new_page()
    fleet.goto(f"{server.url}/live/")
    row = fleet.locator("#rows .fleet-row", has_text="cellar")
    statuses = (page.locator("#status"), row.locator(".status"))
    post(server, key, {"temperature": 1})
    expect(page.locator("#last-seq")).to_have_text("1")
    for status in statuses:
        expect(status).to_have_text("online")

    away = True
    for socket in sockets:
        socket.close(code=1011)
    for lost in (page, fleet):
        expect(lost.locator("#connection")).to_have_text("disconnected")
        expect(lost.locator("#notice")).to_contain_text("No connection to the server since", timeout=10_000)
        assert barriers(lost) == []
    for status in statuses:
        expect(status).to_have_text("was online")
    for number in range(2, 6):
        post(server, key, {"temperature": number})
    post(server, key, {"temperature": 99, "age_seconds": 3600})
    away = False

    for back in (page, fleet):
        expect(back.locator("#connection")).to_have_text("live", timeout=15_000)
        expect(back.locator("#notice")).to_be_hidden()
    for status in statuses:
        expect(status).to_have_text("online")
    expect(page.locator("#last-seq")).to_have_text("6")
    expect(page.locator(value("temperature"))).to_have_text("5")
    expect(page.locator("#recent tbody tr").first).to_contain_text("5")
    expect(row).to_contain_text("5 °C")


def test_a_rotated_key_comes_with_the_code_again(page):
    old = add_device(page, "rotated")
    page.click("#watch")
    page.get_by_role("link", name="Rotate key").click()
    page.click("input[type=submit]")
    new = (page.text_content("#api-key") or "").strip()
    assert new != old
    expect(page.locator("#code-curl")).to_contain_text(new)

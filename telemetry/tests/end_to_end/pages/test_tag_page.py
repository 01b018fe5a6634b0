"""The page of a tag in a browser: chips, counts, the address, open alarms and live updates."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from telemetry.tests.support.browser import CHROMIUM, barriers, faults_of, serious
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.once,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]

ADMIN = {"X-API-Key": ADMIN_KEY}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        for n in range(30):
            tags = [f"greenhouse-{n % 3}", f"shelf {n}"] + ["roof"] * (n % 2)
            call(server, "POST", "devices", {"device_id": f"mote-{n:02}", "tags": tags})
        yield server


def call(server: Server, method: str, path: str, body: Any) -> None:
    answer = httpx.request(method, f"{server.url}/api/v1/{path}", json=body, headers=ADMIN)
    assert answer.status_code in (200, 201), answer.text


def post(server: Server, device_id: str, **reading: float) -> None:
    body = {"device_id": device_id, **reading}
    assert httpx.post(f"{server.url}/api/v1/ingest", json=body, headers={"X-API-Key": FLEET_KEY}).status_code == 201


@pytest.fixture
def page(browser: Browser, account: Any) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, storage_state=account)
    page = context.new_page()
    faults = faults_of(page)
    yield page
    context.close()
    assert serious(faults) == []


def chip(page: Page, name: str) -> Any:
    return page.locator("#tags button").filter(has_text=name)


def test_a_tag_has_its_own_page_and_several_together_too(server, page):
    page.goto(f"{server.url}/live/")
    expect(page.locator("#tags button")).to_have_count(13)  # twelve tags, and the button for the others
    chip(page, "greenhouse-1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("greenhouse-1")
    expect(page.locator("#chips button").first).to_have_text("All10")
    chip(page, "roof").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("greenhouse-1 + roof")
    expect(page).to_have_url(re.compile(r"/live/\?tag=greenhouse-1&tag=roof$"))
    expect(page.locator("#rows .fleet-row")).to_have_count(5)

    page.reload()
    expect(page.locator("#rows .fleet-row")).to_have_count(5)
    expect(page).to_have_title("greenhouse-1 + roof · Telemetry")
    page.fill("#search", "mote-0")
    expect(chip(page, "roof").locator(".figure")).to_have_text("2")
    assert barriers(page) == []

    page.locator("#trail a").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")


def test_its_open_alarms_and_its_devices_are_live(server, page):
    rule = {"name": "Too warm", "kind": "threshold", "metric": "temperature", "above": 30, "tags": ["greenhouse-2"]}
    call(server, "POST", "alarm-rules", rule)
    post(server, "mote-02", temperature=35)
    post(server, "mote-03", temperature=35)  # another greenhouse
    page.goto(f"{server.url}/live/?tag=greenhouse-2")
    expect(page.locator("#rows .fleet-row").first.locator(".values")).to_contain_text("35")
    expect(page.locator("#tag-alarms h2")).to_have_text("1 open alarm", timeout=30_000)
    expect(page.locator("#tag-alarms li").first).to_contain_text("Too warm mote-02")

    call(server, "POST", "devices", {"device_id": "mote-99", "tags": ["greenhouse-2"]})
    post(server, "mote-99", temperature=21)
    expect(page.locator("#chips button").first).to_have_text("All11", timeout=15_000)
    post(server, "mote-05", temperature=22.5)
    expect(page.locator("#rows .fleet-row").nth(1)).to_contain_text("22.5")


def test_a_rule_for_devices_with_tags_is_made_and_changed_in_its_form(server, page):
    page.goto(f"{server.url}/alarms/rules/new")
    page.select_option("#whom", "tagged")
    expect(page.locator("#preview-words")).to_have_text("Choose a tag.")
    for tag in ("greenhouse-0", "roof"):
        page.fill("#tag-input", tag)
        page.press("#tag-input", "Enter")
    page.fill("#form [data-blank=above]", "40")
    page.fill("#name", "Hot roof")
    assert barriers(page) == []
    page.click("#save")
    page.wait_for_url("**/alarms/rules/")
    expect(page.get_by_text("devices tagged greenhouse-0 and roof")).to_be_visible()

    (rule,) = [rule for rule in rules(server) if rule["name"] == "Hot roof"]
    assert (rule["tags"], rule["devices"]) == (["greenhouse-0", "roof"], [])
    page.goto(f"{server.url}/alarms/rules/{rule['id']}/")
    expect(page.locator("#whom")).to_have_value("tagged")
    page.get_by_role("button", name="Remove roof").click()
    page.click("#save")
    page.wait_for_url("**/alarms/rules/")
    assert [found["tags"] for found in rules(server) if found["id"] == rule["id"]] == [["greenhouse-0"]]


def rules(server: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{server.url}/api/v1/alarm-rules", headers=ADMIN).json()["results"]
    return found

"""The comparison of devices in a browser: choose, zoom, save, and open the saved view again."""

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


# Whether the first table fits without scrolling if its cells are as wide as they often are.
FITS_WITH_LONG_WORDS = """() => {
  const lines = document.querySelector(".lines");
  const cells = [...lines.querySelectorAll("tbody .line, tbody td")];
  const before = cells.map((cell) => cell.textContent);
  for (const cell of cells) cell.textContent = cell.matches("td") ? "-12.34" : "Greenhouse, south";
  const fits = lines.scrollWidth <= lines.clientWidth;
  cells.forEach((cell, place) => (cell.textContent = before[place]));
  return fits;
}"""


@pytest.mark.parametrize("size", SIZES)
def test_devices_are_compared_zoomed_and_saved(browser: Any, server: Server, account: Any, size: str) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, storage_state=account)
    page = context.new_page()
    faults = faults_of(page)
    page.goto(f"{server.url}/explore/")
    expect(page.locator("#nothing")).to_be_visible()

    for name in ("north", "south"):
        page.fill("#devices input", name)
        page.press("#devices input", "Enter")
    expect(page.locator(".overlay h2")).to_have_text("temperature (°C)")
    expect(page.locator(".lines tbody th")).to_have_text(["north", "south"])
    page.fill("#metrics input", "humid")
    page.press("#metrics input", "Enter")
    expect(page.locator(".overlay h2")).to_have_text(["temperature (°C)", "humidity (%)"])
    query = httpx.URL(page.url).params
    assert (query.get_list("device_id"), query["metrics"]) == (["north", "south"], "temperature,humidity")
    assert barriers(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(FITS_WITH_LONG_WORDS), "the table below a chart does not fit"

    page.click("#closer")
    expect(page.locator(".charts")).not_to_have_attribute("aria-busy", "true")
    zoomed = page.url
    assert httpx.URL(zoomed).params.keys() >= {"start", "end"}
    page.fill("#views input[name=name]", f"Both, {size}")
    page.click("#views button[type=submit]")
    expect(page.get_by_role("link", name=f"Both, {size}")).to_be_visible()
    page.goto(f"{server.url}/explore/")
    page.get_by_role("link", name=f"Both, {size}").click()
    expect(page.locator(".overlay")).to_have_count(2)
    assert httpx.URL(page.url).params == httpx.URL(zoomed).params
    expect(page.locator(".lines tbody th")).to_have_text(["north", "south"] * 2)
    context.close()
    assert serious(faults) == []


def test_the_devices_of_a_tag_are_compared_by_their_names(browser: Any, server: Server, account: Any) -> None:
    answer = httpx.patch(
        f"{server.url}/api/v1/devices/north",
        json={"tags": ["roof"], "name": "Northern roof"},
        headers={"X-API-Key": ADMIN_KEY},
    )
    assert answer.status_code == 200
    context = browser.new_context(viewport={"width": 1280, "height": 900}, storage_state=account)
    page = context.new_page()
    faults = faults_of(page)
    page.goto(f"{server.url}/explore/")

    page.fill("#devices input", "roof")
    expect(page.locator("#devices .match")).to_have_text(["# roof tag, 1 device", "Northern roof north"])
    page.press("#devices input", "Enter")
    expect(page.locator("#devices .chip")).to_have_text(["# roof"])
    expect(page.locator(".lines tbody th")).to_have_text(["Northern roof"])
    assert httpx.URL(page.url).params.get_list("tag") == ["roof"]

    page.reload()
    expect(page.locator(".lines tbody th")).to_have_text(["Northern roof"])
    page.get_by_role("button", name="Remove # roof").click()
    expect(page.locator("#nothing")).to_be_visible()
    context.close()
    assert serious(faults) == []

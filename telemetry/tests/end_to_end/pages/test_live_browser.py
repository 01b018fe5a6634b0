"""The live page, and `live.js` alone, in a browser whose network is interrupted for a while."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect

from telemetry.tests.support.browser import CHROMIUM, sign_in
from telemetry.tests.support.servers.cable import Cable
from telemetry.tests.support.servers.server import ADMIN_KEY, FLEET_KEY, Server

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.once,
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no Chromium (Debian: apt-get install chromium)"),
]

PULLED_SECONDS = 4
# Seconds within which the page must be complete again: the promise, and the client's pause before it connects.
COMPLETE_MS = 10_000

WATCH = """async (devices) => {
  const { watch, watchFleet } = await import("/static/realtime/live.js");
  window.told = {};
  const of = (who) => (window.told[who] ??= { seqs: {}, statuses: [], states: [] });
  const take = (who, device, readings) => (of(who).seqs[device] ??= []).push(...readings.map((reading) => reading.seq));
  for (const device of devices)
    watch(device, {
      after: 0,
      onReadings: (readings) => take(device, device, readings),
      onStatus: (status) => of(device).statuses.push(status),
      onState: (state) => of(device).states.push(state),
    });
  watchFleet({
    onReadings: (device, readings) => take("fleet", device, readings),
    onStatus: (device, status) => of("fleet").statuses.push(`${device} ${status}`),
    onState: (state) => of("fleet").states.push(state),
  });
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    with Cable(server) as cable:
        yield cable


@pytest.fixture
def page(browser: Browser, server: Server, cable: Cable) -> Iterator[Page]:
    """A signed-in page that connects through the cable."""
    context = browser.new_context(bypass_csp=True)  # wait_for_function evaluates a string
    page = context.new_page()
    sign_in(page, cable.url, server.password())
    yield page
    context.close()


def post(server: Server, device: str, count: int = 1) -> None:
    with httpx.Client(headers={"X-API-Key": FLEET_KEY}) as client:
        for number in range(count):
            reading = {"device_id": device, "temperature": number}
            assert client.post(f"{server.url}/api/v1/ingest", json=reading).status_code == 201


def pull_for_a_while(cable: Cable, page: Page) -> None:
    cable.pull()
    page.context.set_offline(True)
    time.sleep(PULLED_SECONDS)


def plug_in(cable: Cable, page: Page) -> None:
    page.context.set_offline(False)
    cable.plug_in()


def test_a_reading_is_on_the_page_within_a_second_and_none_is_missing_in_the_end(page, server, cable):
    server.register("page-1")
    page.goto(f"{cable.url}/live/page-1/")
    expect(page.locator("#connection")).to_have_text("live")

    post(server, "page-1")
    expect(page.locator("#last-seq")).to_have_text("1", timeout=1_000)

    pull_for_a_while(cable, page)
    post(server, "page-1", 5)
    time.sleep(1)
    expect(page.locator("#last-seq")).to_have_text("1")
    plug_in(cable, page)
    expect(page.locator("#last-seq")).to_have_text("6", timeout=COMPLETE_MS)
    expect(page.locator("#connection")).to_have_text("live")

    post(server, "page-1")
    expect(page.locator("#last-seq")).to_have_text("7", timeout=1_000)


def told(page: Page, who: str) -> Any:
    return page.evaluate("who => window.told[who]", who)


def test_the_module_gives_every_reading_once_also_of_a_device_that_is_new_after_the_outage(page, server, cable):
    server.register("m-1")
    server.register("m-2")
    post(server, "m-1", 3)
    page.evaluate(WATCH, ["m-1"])
    page.wait_for_function("window.told.fleet?.states.at(-1) === 'live' && told['m-1'].states.at(-1) === 'live'")

    post(server, "m-1", 2)
    post(server, "m-2", 2)
    page.wait_for_function("(window.told.fleet.seqs['m-2'] ?? []).length === 2")
    pull_for_a_while(cable, page)
    server.register("m-3")
    for device in ("m-1", "m-2", "m-3"):
        post(server, device, 4)
    plug_in(cable, page)
    whole = "window.told.fleet.seqs['m-3']?.length === 4 && told.fleet.states.at(-1) === 'live'"
    page.wait_for_function(f"{whole} && window.told['m-1'].seqs['m-1'].length === 9", timeout=COMPLETE_MS)

    fleet = told(page, "fleet")
    assert fleet["seqs"] == {"m-1": list(range(4, 10)), "m-2": list(range(1, 7)), "m-3": [1, 2, 3, 4]}
    assert told(page, "m-1")["seqs"] == {"m-1": list(range(1, 10))}
    assert told(page, "m-1")["statuses"] == ["online"]
    assert "m-2 online" in fleet["statuses"]
    for who in ("fleet", "m-1"):
        states = told(page, who)["states"]
        assert re.fullmatch(
            r"(connecting (catching up )?)+live disconnected ((connecting|disconnected|catching up) )+live",
            " ".join(states),
        )


def test_the_module_gives_a_log_that_replaced_another_from_its_first_reading(page, server, cable):
    server.register("again-1")
    post(server, "again-1", 3)
    page.evaluate(WATCH, ["again-1"])
    page.wait_for_function("window.told.fleet?.states.at(-1) === 'live' && told['again-1'].states.at(-1) === 'live'")
    pull_for_a_while(cable, page)
    erase = [sys.executable, "manage.py", "erase_device", "again-1", "--with-device", "--yes"]
    subprocess.run(erase, env=server.environment, cwd=settings.BASE_DIR, check=True)
    server.register("again-1")
    post(server, "again-1", 5)
    plug_in(cable, page)
    page.wait_for_function("window.told.fleet.seqs['again-1']?.length === 5", timeout=COMPLETE_MS)
    page.wait_for_function("window.told['again-1'].seqs['again-1'].length === 8", timeout=COMPLETE_MS)

    assert told(page, "fleet")["seqs"]["again-1"] == [1, 2, 3, 4, 5]
    assert told(page, "again-1")["seqs"] == {"again-1": [1, 2, 3, 1, 2, 3, 4, 5]}


def test_the_module_stops_for_good_where_it_is_refused_and_says_why(page, server):
    page.evaluate(
        """async () => {
          const { watch } = await import("/static/realtime/live.js");
          window.states = [];
          watch("none", { onReadings() {}, onState: (state, detail) => window.states.push([state, detail]) });
        }"""
    )
    page.wait_for_function("window.states.at(-1)[0] === 'refused'")
    time.sleep(1)
    detail = "No such device, or the caller may not see it."
    assert page.evaluate("window.states") == [["connecting", None], ["refused", detail]]


def test_the_module_brings_a_new_ticket_to_each_connection(browser, server, cable):
    server.register("t-1")
    post(server, "t-1", 2)
    page = browser.new_context(bypass_csp=True).new_page()
    issued = []

    def ticket() -> str:
        url, headers = f"{server.url}/api/v1/realtime/tickets", {"X-API-Key": ADMIN_KEY}
        issued.append(httpx.post(url, json={}, headers=headers).json()["ticket"])
        return str(issued[-1])

    page.expose_function("ticket", ticket)
    page.goto(f"{cable.url}/admin/login/")  # without signing in
    page.evaluate(
        """async () => {
          const { watch } = await import("/static/realtime/live.js");
          window.seqs = [];
          const onReadings = (readings) => seqs.push(...readings.map((reading) => reading.seq));
          watch("t-1", { after: 0, ticket: window.ticket, onReadings });
        }"""
    )
    page.wait_for_function("window.seqs.length === 2")
    pull_for_a_while(cable, page)
    post(server, "t-1", 2)
    plug_in(cable, page)
    page.wait_for_function("window.seqs.length === 4", timeout=COMPLETE_MS)
    assert page.evaluate("window.seqs") == [1, 2, 3, 4]
    assert len(issued) >= 2
    page.context.close()

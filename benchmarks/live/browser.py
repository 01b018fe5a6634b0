"""Measures the latency from the POST to the page: Chromium with `live.js`, one reading every 100 ms."""

import time
from typing import Any

import httpx
from playwright.sync_api import sync_playwright

from benchmarks.contenders.live import ADMIN_KEY, Contender
from telemetry.tests.support.browser import ARGUMENTS, CHROMIUM

READINGS = 200
PAUSE_SECONDS = 0.1
WATCH = """async () => {
  const { watch } = await import("/static/realtime/live.js");
  window.taken = [];
  const now = () => performance.timeOrigin + performance.now();
  const onReadings = (readings) => window.taken.push(...readings.map((reading) => now() - reading.sent));
  watch("d-0", { ticket: window.ticket, onReadings, onState: (state) => (window.state = state) });
}"""


def latencies(port: int, contender: Contender) -> list[float]:
    """Sorted latencies in milliseconds, from before the POST until the page has the reading."""
    url = f"http://127.0.0.1:{port}"

    def ticket() -> str:
        headers = {"X-API-Key": ADMIN_KEY}
        return str(httpx.post(f"{url}/api/v1/realtime/tickets", json={}, headers=headers).json()["ticket"])

    with sync_playwright() as playwright, httpx.Client(headers={"X-API-Key": contender.key}) as client:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(bypass_csp=True)  # wait_for_function evaluates a string, which the policy forbids
        page.expose_function("ticket", ticket)
        page.goto(f"{url}/admin/login/")
        page.evaluate(WATCH)
        page.wait_for_function("window.state === 'live'")
        for _ in range(READINGS):
            client.post(f"{url}{contender.post}", json={"temperature": 21.5, "sent": time.time() * 1000})
            page.wait_for_timeout(PAUSE_SECONDS * 1000)
        page.wait_for_function(f"window.taken.length === {READINGS}")
        taken: Any = page.evaluate("window.taken")
        browser.close()
    return sorted(float(value) for value in taken)

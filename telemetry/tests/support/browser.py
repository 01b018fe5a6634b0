"""Chromium for the tests: the system's browser, with console errors and failed requests collected."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def faults_of(page: Page) -> list[str]:
    """A list to which every error on the page is added from now on."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("requestfailed", lambda request: faults.append(f"{request.url}: {request.failure}"))
    return faults


def serious(faults: list[str]) -> list[str]:
    """Removes requests that navigation to the next page cancelled."""
    return [fault for fault in faults if not fault.endswith("net::ERR_ABORTED")]


def barriers(page: Page) -> list[str]:
    """The serious and critical accessibility faults that axe-core finds on the page."""
    # No preloading, because it fetches and inserts style sheets, which our policy forbids.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['failureSummary']}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def sign_in(page: Page, url: str, password: str) -> None:
    page.goto(f"{url}/admin/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password)
    page.click("input[type=submit]")


def session(browser: Browser, url: str, password: str) -> Any:
    """The cookies of a signed-in account, for new browser contexts."""
    page = browser.new_page()
    sign_in(page, url, password)
    state = page.context.storage_state()
    page.context.close()
    return state

"""`make screenshots`: pictures of every page, wide and narrow, light and dark, in .cache/screenshots/.

It also takes the seven pictures of the README and docs/.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.pages.console import ADMIN_KEY, FLEET_KEY, ROOT, chromium, console, sign_in
from benchmarks.pages.showcase import NAMES, device_id

FOLDER = ROOT / ".cache" / "screenshots"
SIZES = {"wide": (1280, 860), "narrow": (360, 780)}
SCHEMES = ("light", "dark")
SETTLED_MS = 900
ONLINE = [number for number in range(len(NAMES)) if number % 9 != 7 and number % 11 != 4]


class Shot(NamedTuple):
    name: str
    path: str
    act: Callable[[Page], None] = lambda page: None
    whole: bool = True  # the whole page; False: only what fits on the screen


def add(page: Page) -> None:
    page.fill("#id_device_id", f"greenhouse-{time.time_ns() % 10**6}")
    page.fill("#id_name", "Greenhouse, east")
    page.click("input[name=_save]")
    page.wait_for_selector("#api-key")


def arrive(page: Page) -> None:
    add(page)
    page.click("#test-reading")
    page.wait_for_selector(".green")


def nothing(page: Page) -> None:
    page.fill("#search", "no such device")


def tab(name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role("tab", name=name, exact=True).click()


def preview(page: Page) -> None:
    page.wait_for_selector("#form:not([inert])")
    page.select_option('[data-blank="side"]', "above")
    page.fill('[data-blank="above"]', "19")
    page.wait_for_selector("#preview[data-state=some]")


def acknowledge(page: Page) -> None:
    page.locator("#open .alarm").nth(2).get_by_role("button", name="Acknowledge").click()


def choose_rotation(page: Page) -> None:
    for box in page.locator("#result_list tbody input[type=checkbox]").all()[:3]:
        box.check()
    page.select_option("select[name=action]", "rotate")
    page.click("button[name=index]")


def print_labels(page: Page) -> None:
    for box in page.locator("#result_list tbody input[type=checkbox]").all()[:3]:
        box.check()
    page.select_option("select[name=action]", "labels")
    page.click("button[name=index]")


def share(page: Page) -> None:
    """Saves a view and makes a link to it, in the dialog."""
    views = page.locator("#views")
    views.locator("input[name=name]").fill(f"Three rooms {time.time_ns() % 10**6}")
    views.locator("form button").click()
    views.get_by_role("button", name="Share").first.click()
    page.get_by_role("button", name="Make a link").click()
    page.wait_for_selector("dialog .made input")


def follow_share(page: Page) -> None:
    share(page)
    page.goto(page.locator("dialog .made input").input_value())


DEVICE = f"/live/{device_id(0)}/"
COMPARED = "&".join(f"device_id={device_id(number)}" for number in range(3))
COMPARE = f"/explore/?{COMPARED}&metrics=temperature,humidity&range=30d"
EMPTY = [
    Shot("empty-overview", "/admin/"),
    Shot("empty-fleet", "/live/"),
    Shot("empty-devices", "/admin/devices/device/"),
    Shot("empty-readings", "/admin/readings/reading/"),
    Shot("empty-changes", "/admin/admin/logentry/"),
    Shot("empty-alarms", "/alarms/"),
    Shot("add-device", "/admin/devices/device/add/"),
    Shot("key-waiting", "/admin/devices/device/add/", add),
    Shot("key-arrived", "/admin/devices/device/add/", arrive),
]
FULL = [
    Shot("overview", "/admin/"),
    Shot("fleet", "/live/", whole=False),
    Shot("fleet-nothing", "/live/", nothing),
    Shot("device-1h", DEVICE),
    Shot("device-24h", f"{DEVICE}?range=24h"),
    Shot("device-30d", f"{DEVICE}?range=30d"),
    Shot("device-1y", f"{DEVICE}?range=1y"),
    Shot("device-arduino", DEVICE, tab("Arduino")),
    Shot("compare", COMPARE),
    Shot("share", COMPARE, share, whole=False),
    Shot("shared", COMPARE, follow_share),
    Shot("labels", "/admin/devices/device/", print_labels),
    Shot("compare-csv", COMPARE, lambda page: page.click("#downloads summary"), whole=False),
    Shot("fleet-signal", "/live/?sort=rssi&order=asc", whole=False),
    Shot("add-several", "/admin/devices/device/add-several/"),
    Shot("alarms", "/alarms/", whole=False),
    Shot("alarms-acknowledge", "/alarms/", acknowledge, whole=False),
    Shot("alarm-rules", "/alarms/rules/"),
    Shot("alarm-preview", "/alarms/rules/new", preview),
    Shot("fleet-alarms", "/live/?alarms=open&sort=alarms", whole=False),
    Shot("device-never", "/live/node-0034/"),
    Shot("devices", "/admin/devices/device/"),
    Shot("devices-nothing", "/admin/devices/device/?q=zzz"),
    Shot("rotate", "/admin/devices/device/", choose_rotation),
    Shot("readings", f"/admin/readings/reading/?q={device_id(0)}"),
    Shot("refused", "/admin/readings/rejection/"),
    Shot("accounts", "/admin/auth/user/"),
    Shot("guide", "/guide"),
    Shot("guide-connect", "/guide/connect"),
    Shot("guide-recipes", "/guide/recipes"),
    Shot("docs", "/docs"),
    Shot("redoc", "/redoc"),
    Shot("not-found", "/nowhere"),
]
# The pictures in docs/ by file name: page and colour scheme.
BEST: dict[str, tuple[Shot, Any]] = {
    "fleet": (Shot("fleet", "/live/"), "light"),
    "device": (Shot("device", f"{DEVICE}?range=24h"), "light"),
    "device-dark": (Shot("device", f"{DEVICE}?range=30d"), "dark"),
    "compare": (Shot("compare", COMPARE), "light"),
    "alarms": (Shot("alarms", "/alarms/"), "light"),
    "alarm-preview": (Shot("preview", "/alarms/rules/new", preview), "light"),
    "first-minute": (Shot("key", "/admin/devices/device/add/", arrive), "light"),
}


RULES = [
    {"name": "Too warm", "kind": "threshold", "metric": "temperature", "above": 20, "text": "Open a window."},
    {"name": "Battery low", "kind": "threshold", "metric": "voltage", "below": 3.84, "severity": "info"},
    {"name": "Silent", "kind": "silence", "seconds": 600, "severity": "critical", "text": "Look at its power supply."},
]


def watch_readings(url: str) -> None:
    """Makes rules and a channel of theirs, so that the page of alarms does not tell how to get the first message."""
    with httpx.Client(base_url=f"{url}/api/v1/", headers={"X-API-Key": ADMIN_KEY}) as client:
        channel = {"name": "Desk", "kind": "webhook", "target": "http://127.0.0.1:9/hook"}
        made = client.post("channels", json=channel).raise_for_status().json()
        for rule in RULES:
            client.post("alarm-rules", json=rule | {"channels": [made["id"]]}).raise_for_status()


def report_in(url: str, stop_after: int = len(NAMES)) -> None:
    """Posts readings for the devices that should be online."""
    readings = [
        {
            "device_id": device_id(n),
            "temperature": 18 + n % 7 - 2.5,
            "humidity": 58.5 + n % 5,
            "voltage": 4.02 - n % 9 / 40,
            "rssi": -55 - n,
        }
        for n in ONLINE[:stop_after]
    ]
    httpx.post(f"{url}/api/v1/ingest/batch", json=readings, headers={"X-API-Key": FLEET_KEY}).raise_for_status()


def take(browser: Browser, url: str, shots: list[Shot], *, size: str, scheme: Any) -> None:
    width, height = SIZES[size]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = sign_in(context, url)
    for shot in shots:
        picture(page, url, shot, FOLDER / f"{shot.name}-{size}-{scheme}.png", whole=shot.whole)
    context.close()


def picture(page: Page, url: str, shot: Shot, file: Path, *, whole: bool) -> None:
    page.goto(f"{url}{shot.path}")
    shot.act(page)
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=file, full_page=whole)


def best(browser: Browser, url: str) -> None:
    for name, (shot, scheme) in BEST.items():
        context = browser.new_context(viewport={"width": 1280, "height": 860}, color_scheme=scheme)
        page = sign_in(context, url)
        report_in(url)
        picture(page, url, shot, ROOT / "docs" / f"{name}.png", whole=False)
        context.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages.screenshots")
    parser.add_argument("--best", action="store_true", help="take only the seven pictures in docs/")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    full = ["--devices=36", "--year"]
    with sync_playwright() as playwright:
        browser = chromium(playwright)
        with tempfile.TemporaryDirectory() as folder, console(Path(folder), full) as server:
            watch_readings(server.url)
            report_in(server.url)
            best(browser, server.url)
            if not options.best:
                for size, scheme in product(SIZES, SCHEMES):
                    report_in(server.url)
                    take(browser, server.url, FULL, size=size, scheme=scheme)
        for size, scheme in () if options.best else product(SIZES, SCHEMES):
            with tempfile.TemporaryDirectory() as folder, console(Path(folder), []) as server:
                take(browser, server.url, EMPTY, size=size, scheme=scheme)
        browser.close()


if __name__ == "__main__":
    main()

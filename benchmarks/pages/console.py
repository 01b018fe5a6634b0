"""A server with a fleet, and a browser that is signed in: for page benchmarks and screenshots."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from benchmarks.measuring.servers import Server
from telemetry.tests.support.browser import ARGUMENTS, CHROMIUM

ROOT = Path(__file__).resolve().parents[2]
ADMIN_KEY = "admin-key-of-the-console-0123456789"
FLEET_KEY = "fleet-key-of-the-console-0123456789"
PASSWORD = "pictures-and-measurements"  # for a server that runs for a minute and listens on loopback only


@contextmanager
def console(folder: Path, showcase: Sequence[str], *, database_url: str = "", redis_url: str = "") -> Iterator[Server]:
    """Runs a server in `folder`, with the fleet that `showcase` makes of these arguments; () for no fleet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {
        "ENV_FILE": os.devnull,
        "SECRET_KEY": "secret-key-of-the-console-0123456789-0123456789",
        "API_SECRET_KEY": ADMIN_KEY,
        "DEVICE_API_KEYS": FLEET_KEY,
        "PORT": str(port),
        "LOG_LEVEL": "WARNING",
        "DATABASE_URL": database_url or f"sqlite:///{folder / 'db.sqlite3'}",
        "REDIS_URL": redis_url,
        "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
    }

    def run(*arguments: str) -> None:
        command = [sys.executable, *arguments]
        subprocess.run(command, env={"PATH": os.environ["PATH"], **environment}, cwd=ROOT, check=True)

    run("manage.py", "migrate", "-v0")
    run("manage.py", "createsuperuser", "--noinput", "--username=admin", "--email=", "-v0")
    if showcase:
        run("-m", "benchmarks.pages.showcase", *showcase)
    command = [sys.executable, str(ROOT / "manage.py"), "up", "--no-demo"]
    with Server(command, port=port, log=folder / "log", environment=environment) as server:
        yield server


def chromium(playwright: Playwright) -> Browser:
    if not CHROMIUM:
        raise SystemExit("Chromium is missing: apt-get install chromium")
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def sign_in(context: BrowserContext, url: str) -> Page:
    """Signs in; returns the page. Keep it open, because Chromium may hang when a context's last page is closed."""
    page = context.new_page()
    page.goto(f"{url}/admin/login/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    return page

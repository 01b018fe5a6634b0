import os
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from telemetry.tests.support.browser import chromium, session
from telemetry.tests.support.servers.server import Server

collect_ignore = [] if "PROVE" in os.environ else ["proofs"]  # `make prove`


@pytest.fixture(autouse=True)
def health_looks_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disables the reuse of an earlier test's probe."""
    monkeypatch.setattr("telemetry.health.FRESH_SECONDS", 0.0)


# Per module, not for the whole run: while Playwright is active, the thread has an event loop that breaks other tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def account(browser: Browser, server: Server) -> Any:
    """The cookies of the console's account on the module's `server`."""
    return session(browser, server.url, server.password())

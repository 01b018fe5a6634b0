"""Static files that are changed while the server runs."""

import asyncio
from typing import Any

import pytest
from django.http import HttpResponse, HttpResponseNotFound
from django.test import RequestFactory

from telemetry.middleware.static_files import StaticFiles

pytestmark = pytest.mark.once


@pytest.fixture
def folder(tmp_path, settings):
    settings.STATICFILES_DIRS = [tmp_path]
    (tmp_path / "page.js").write_text("a" * 100)
    return tmp_path


def served(middleware: StaticFiles, **headers: str) -> tuple[int, bytes, str | None]:
    """Status, body and announced length."""

    async def ask():
        response: Any = await middleware(RequestFactory().get("/static/page.js", headers=headers))
        body = b"".join([part async for part in response]) if response.streaming else response.content
        return response.status_code, body, response.headers.get("Content-Length")

    found: tuple[int, bytes, str | None] = asyncio.run(ask())
    return found


async def nothing(_) -> HttpResponse:
    return HttpResponseNotFound(b"nothing")


def test_a_file_that_changed_is_served_as_it_is_now(folder):
    middleware = StaticFiles(nothing)
    assert served(middleware) == (200, b"a" * 100, "100")
    for text in ("shorter", "longer" * 100, ""):
        (folder / "page.js").write_text(text)
        assert served(middleware) == (200, text.encode(), str(len(text)))
        assert served(middleware) == (200, text.encode(), str(len(text)))


def test_a_file_that_is_gone_is_not_found_until_it_is_back(folder):
    middleware = StaticFiles(nothing)
    (folder / "page.js").unlink()
    assert served(middleware)[:2] == (404, b"nothing")
    (folder / "page.js").write_text("back")
    assert served(middleware) == (200, b"back", "4")

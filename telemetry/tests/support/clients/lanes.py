"""Many concurrent requests to the real ASGI application, for tests of the ingest lane."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx


def through_the_lane(story: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
    """Runs `story` with a client of the application, in a new event loop."""
    from telemetry.asgi import application

    async def tell() -> Any:
        transport = httpx.ASGITransport(app=application)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver/api/v1") as client:
            return await story(client)

    return asyncio.run(tell())

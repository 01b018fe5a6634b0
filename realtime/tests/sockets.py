"""A client of the live socket, for tests: the real application, without a server."""

import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator

from devices.tests.fixtures import ADMIN_KEY
from readings.tests.logs import new, store
from realtime.routing import websocket_application

WAIT_SECONDS = 5

# Handshake headers from pages of different origins.
OWN = {"host": "testserver", "origin": "http://testserver"}
ALLOWED = {"host": "testserver", "origin": "https://app.example.org"}
FOREIGN = {"host": "testserver", "origin": "https://evil.example.net"}
WITHOUT = {"host": "testserver"}


def in_a_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test; its database work happens in the test's own thread, and so in its transaction."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        async_to_sync(test)(**fixtures)

    return run


class Socket(WebsocketCommunicator):  # type: ignore[misc]  # channels has no types
    """A client of the real application. `address` follows `subscribe/`; `_` in a header's name stands for `-`."""

    def __init__(self, address: str, **headers: str) -> None:
        pairs = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
        super().__init__(websocket_application, f"/api/v1/realtime/subscribe/{address}", headers=pairs)

    async def frame(self, *, status: bool = False, alarms: bool = False) -> Any:
        """The next frame. Those about statuses, which can come at any time, and about alarms are skipped by default."""
        skipped = (() if status else ("status",)) + (() if alarms else ("alarms", "alarm"))
        while (frame := json.loads(await self.receive_from(timeout=WAIT_SECONDS)))["type"] in skipped:
            pass
        return frame

    async def alarms(self) -> Any:
        """The next frame about alarms; others are skipped."""
        while (frame := await self.frame(alarms=True))["type"] not in ("alarms", "alarm"):
            pass
        return frame

    async def seqs(self, count: int) -> list[int]:
        """The `seq` of the next readings, at least `count` of them, from as many frames as needed."""
        seqs: list[int] = []
        while len(seqs) < count:
            frame = await self.frame()
            assert frame["type"] == "readings", frame
            seqs += [reading["seq"] for reading in frame["readings"]]
        return seqs

    async def says_nothing_more(self) -> None:
        """Asserts that no frame waits: frames come in order, so the pong must be the next one."""
        await self.send_to(text_data='{"type":"ping"}')
        frame = await self.frame()
        assert frame == {"type": "pong"}

    async def close_code(self) -> int:
        message = await self.receive_output(timeout=WAIT_SECONDS)
        assert message["type"] == "websocket.close", message
        return int(message["code"])


@asynccontextmanager
async def watching(address: str, **headers: str) -> AsyncIterator[Socket]:
    socket = Socket(address, **(headers or {"x_api_key": ADMIN_KEY}))
    try:
        assert await socket.connect(timeout=WAIT_SECONDS) == (True, None)
        yield socket
    finally:
        await socket.disconnect(timeout=WAIT_SECONDS)


@sync_to_async
def measure(count: int, device_id: str = "mote-1") -> None:
    """Stores `count` readings, each in a commit and an announcement of its own."""
    for n in range(count):
        store([new(device_id, temperature=float(n))])


async def fate(address: str, **headers: str) -> str:
    """The outcome of a handshake: "subscribed", "403", or the close code and the error's code."""
    socket = Socket(address, **headers)
    connected, code = await socket.connect(timeout=WAIT_SECONDS)
    if not connected:
        return "403" if code == 1000 else str(code)
    frame = await socket.frame()
    if frame["type"] == "subscribed":
        await socket.disconnect(timeout=WAIT_SECONDS)
        return "subscribed"
    assert frame.keys() == {"type", "code", "detail"}
    assert frame["type"] == "error"
    return f"{await socket.close_code()} {frame['code']}"

"""A relay between clients and a server; subclasses decide what it passes on."""

import asyncio
import threading
from typing import Self

from telemetry.tests.support.servers.server import free_port


class Relay:
    """Listens on `port`, in an event loop and a thread of its own."""

    def __init__(self) -> None:
        self.port = free_port()

    def __enter__(self) -> Self:
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run(ready)))
        self.thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join()

    async def run(self, ready: threading.Event) -> None:
        self.loop, self.stopped = asyncio.get_running_loop(), asyncio.Event()
        listening = await asyncio.start_server(self.connect, "127.0.0.1", self.port)
        ready.set()
        await self.stopped.wait()
        listening.close()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Handles a new client."""
        raise NotImplementedError


async def until_either_ends(*ways: "asyncio.Task[None]") -> None:
    """Waits until one of the tasks ends, then cancels the others."""
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()

"""A network cable between a browser and a server, to be pulled."""

import asyncio
import contextlib
import threading
from typing import Self

from telemetry.tests.server import Server, free_port


class Cable:
    """While it is pulled nothing passes, and nobody is told; what was under way then ends when it is plugged in."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.run(ready)))
        self.thread.start()
        ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.plug_in()
        self.loop.call_soon_threadsafe(self.unplugged.set)
        self.thread.join()

    async def run(self, ready: threading.Event) -> None:
        self.loop, self.unplugged, self.plugged = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self.plugged.set()
        self.ends: set[asyncio.StreamWriter] = set()
        listening = await asyncio.start_server(self.connect, "127.0.0.1", self.port)
        ready.set()
        await self.unplugged.wait()
        listening.close()
        for end in self.ends:
            end.close()

    def pull(self) -> None:
        self.loop.call_soon_threadsafe(self.plugged.clear)

    def plug_in(self) -> None:
        def plug() -> None:
            for end in self.ends if not self.plugged.is_set() else ():
                end.transport.abort()
            self.plugged.set()

        self.loop.call_soon_threadsafe(plug)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ends.add(writer)
        try:
            await self.plugged.wait()
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.server.port)
            self.ends.add(to_server)
            ways = [self.carry(reader, to_server), self.carry(from_server, writer)]
            tasks = [asyncio.create_task(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            to_server.close()
            self.ends.discard(to_server)
        finally:
            writer.close()
            self.ends.discard(writer)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                await self.plugged.wait()
                writer.write(chunk)

"""A relay between a browser and a server that simulates a pulled network cable."""

import asyncio
import contextlib
import threading

from telemetry.tests.support.servers.relay import Relay, until_either_ends
from telemetry.tests.support.servers.server import Server


class Cable(Relay):
    """While it is pulled, no byte passes and no side is told; the connections end when it is plugged in again."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self.server = server
        self.url = f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.plug_in()
        super().__exit__()

    async def run(self, ready: threading.Event) -> None:
        self.plugged = asyncio.Event()
        self.plugged.set()
        self.ends: set[asyncio.StreamWriter] = set()
        await super().run(ready)
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
            await until_either_ends(*map(asyncio.create_task, ways))
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

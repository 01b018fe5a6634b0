"""A network between a client and a server that stops passing bytes, as after a failover or behind a firewall."""

import asyncio
import contextlib
import threading

from telemetry.tests.relay import Relay, until_either_ends


class HangingProxy(Relay):
    """Passes everything on to `target`, until `hang`: then the connections that are open pass nothing any more.

    Nobody is told, and nothing is closed. New connections work.
    """

    def __init__(self, target: int) -> None:
        super().__init__()
        self.target = target
        self.opened = 0
        self.ways: set[asyncio.Event] = set()
        self.hanging: set[asyncio.Event] = set()
        self.connections: set[asyncio.Task[None]] = set()
        self.ends: set[asyncio.StreamWriter] = set()
        # What a client must have sent for its connection to hang from there on, as b"COMMIT".
        self.hangs_at: bytes | None = None

    async def run(self, ready: threading.Event) -> None:
        await super().run(ready)
        for end in self.ends:
            end.transport.abort()
        for way in self.hanging:
            way.set()
        if self.connections:
            await asyncio.wait(self.connections, timeout=5)

    def hang(self) -> None:
        """Every connection that is open now."""
        done = threading.Event()

        def stop() -> None:
            for way in self.ways:
                way.clear()
            self.hanging |= self.ways
            self.ways.clear()
            done.set()

        self.loop.call_soon_threadsafe(stop)
        done.wait(5)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.current_task()
        assert task is not None
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)
        passes = asyncio.Event()
        passes.set()
        self.ways.add(passes)
        self.ends.add(writer)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.target)
            self.ends.add(to_server)
            ways = [self.carry(reader, to_server, passes), self.carry(from_server, writer, passes, answers=True)]
            await until_either_ends(*map(asyncio.create_task, ways))
            to_server.close()
            self.ends.discard(to_server)
        finally:
            writer.close()
            self.ends.discard(writer)
            self.ways.discard(passes)

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        passes: asyncio.Event,
        *,
        answers: bool = False,
    ) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                await passes.wait()
                writer.write(chunk)
                if not answers and self.hangs_at is not None and self.hangs_at in chunk:
                    # The server gets this, and does it; its answer goes nowhere.
                    self.hangs_at = None
                    self.hanging.add(passes)
                    passes.clear()

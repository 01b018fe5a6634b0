"""A proxy in front of PostgreSQL whose open connections can stop passing bytes while new ones work.

That is what a client sees of a failover to another machine, or of a firewall that dropped its state: no error and no
end of stream, and its bytes are still accepted by the local kernel.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from telemetry.tests.support.relay import Relay

# The statement by which ingest stores readings, and the one that ends its transaction.
STORES = b"COPY readings_reading"
COMMITS = b"COMMIT"
CHUNK_BYTES = 65536
# States of a TCP connection (include/net/tcp_states.h); TCP_INFO begins with it.
TCP_ESTABLISHED = 1

Result = TypeVar("Result")


class Connection:
    """One client's connection. Once it `hangs` it passes nothing in either direction, not even its end."""

    def __init__(
        self, client: asyncio.StreamWriter, upstream: asyncio.StreamWriter, *readers: asyncio.StreamReader
    ) -> None:
        self.client, self.upstream = client, upstream
        self.readers = readers  # kept, because asyncio aborts a connection whose reader nobody refers to
        self.hangs = False
        self.stores = False  # it has stored readings since its last COMMIT

    def is_held(self) -> bool:
        """Whether the client still has it open."""
        transport = self.client.transport
        if transport.is_closing():
            return False
        state: bytes = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return state[0] == TCP_ESTABLISHED


class HangingProxy(Relay):
    """`hang()` stops all open connections; `hang_at_commit()` does so when the next ingest commits."""

    def __init__(self, upstream_port: int) -> None:
        super().__init__()
        self.upstream_port = upstream_port
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self.open: set[Connection] = set()
        self.carrying: set[asyncio.Task[None]] = set()
        # What becomes of the COMMIT at which all connections hang: is it passed on? None: nothing hangs then.
        self.passes_commit: bool | None = None
        # A statement after which the connection that sent it hangs by itself; the server gets it, and does it.
        self.hangs_after: bytes | None = None
        self.hung = threading.Event()

    async def run(self, ready: threading.Event) -> None:
        await super().run(ready)
        for connection in list(self.open):
            self.abort(connection)
        # Aborted, they end by themselves: asyncio logs an error for each that is cancelled instead.
        await asyncio.gather(*self.carrying)

    def hang(self) -> int:
        """Stops every connection that is open now; returns how many."""
        return self.call(self.hang_now)

    def hang_now(self) -> int:
        found = [connection for connection in self.open if not connection.hangs]
        for connection in found:
            connection.hangs = True
        self.hung.set()
        return len(found)

    @contextmanager
    def hang_at_commit(self, *, passed_on: bool) -> Iterator[threading.Event]:
        """Stops all connections at the next COMMIT of an ingest, before it is passed on or right after it.

        The event that it gives is set when that has happened.
        """
        self.hung.clear()
        self.passes_commit = passed_on
        try:
            yield self.hung
        finally:
            self.passes_commit = None

    def held(self) -> int:
        """How many of the hanging connections their clients still have open."""
        return self.call(lambda: sum(connection.hangs and connection.is_held() for connection in self.open))

    def forget(self) -> None:
        """Ends the hanging connections on both sides, as PostgreSQL and the clients find out in the end."""

        def forget_now() -> None:
            for connection in [connection for connection in self.open if connection.hangs]:
                self.abort(connection)

        self.call(forget_now)

    def call(self, function: Callable[[], Result]) -> Result:
        """Calls it in the proxy's event loop, in which all connections are handled, and returns its result."""

        async def run() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def abort(self, connection: Connection) -> None:
        self.open.discard(connection)
        for end in (connection.client, connection.upstream):
            end.transport.abort()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        carrying = asyncio.create_task(self.carry(reader, writer))
        self.carrying.add(carrying)
        carrying.add_done_callback(self.carrying.discard)
        await asyncio.shield(carrying)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_database, to_database = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        except OSError:
            writer.transport.abort()
            return
        connection = Connection(writer, to_database, reader, from_database)
        self.open.add(connection)
        with contextlib.suppress(OSError):
            await asyncio.gather(self.ask(connection, reader), self.answer(connection, from_database))
        if not connection.hangs:
            self.abort(connection)

    async def ask(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            connection.stores |= STORES in chunk
            passes = True
            if connection.stores and COMMITS in chunk:
                connection.stores = False
                if self.passes_commit is not None and not connection.hangs:
                    passes = self.passes_commit
                    self.passes_commit = None
                    if passes:
                        connection.upstream.write(chunk)
                    self.hang_now()
            if connection.hangs:
                return
            connection.upstream.write(chunk)
            await connection.upstream.drain()
            if self.hangs_after is not None and self.hangs_after in chunk:
                self.hangs_after = None
                connection.hangs = True
        self.end(connection)

    async def answer(self, connection: Connection, reader: asyncio.StreamReader) -> None:
        while chunk := await reader.read(CHUNK_BYTES):
            if connection.hangs:
                return
            connection.client.write(chunk)
            await connection.client.drain()
        self.end(connection)

    def end(self, connection: Connection) -> None:
        """One side has closed it: so does the other, unless it hangs."""
        if not connection.hangs:
            self.abort(connection)

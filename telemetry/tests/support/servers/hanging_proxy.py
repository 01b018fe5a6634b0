"""A proxy in front of PostgreSQL whose open connections can stop passing bytes while new ones work.

A client sees the same after a failover to another machine, or behind a firewall that lost its state: no error and no
end of stream, and the local kernel still accepts its bytes.
"""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from telemetry.tests.support.servers.relay import Relay

# The statements with which ingest stores many readings or few, and the one that ends its transaction. That for few is
# sent once; then only the name that psycopg gave it is.
STORES = b"COPY readings_reading"
PREPARES = re.compile(rb"(_pg3_\d+)\0\s*INSERT INTO readings_reading")
COMMITS = b"COMMIT"
CHUNK_BYTES = 65536
# States of a TCP connection (include/net/tcp_states.h); TCP_INFO begins with it.
TCP_ESTABLISHED = 1

Result = TypeVar("Result")


class Connection:
    """The connection of a client. When it `hangs`, it passes nothing in either direction, not even its end."""

    def __init__(
        self, client: asyncio.StreamWriter, upstream: asyncio.StreamWriter, *readers: asyncio.StreamReader
    ) -> None:
        self.client, self.upstream = client, upstream
        self.readers = readers  # kept, because asyncio aborts a connection whose reader is garbage-collected
        self.hangs = False
        self.stores = False  # whether it has stored readings since its last COMMIT
        self.inserts: bytes | None = None  # how a message that executes the prepared statement contains its name

    def is_held(self) -> bool:
        """Whether the client still has the connection open."""
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
        # Whether the COMMIT at which all connections hang is passed on; None: connections do not hang at a COMMIT.
        self.passes_commit: bool | None = None
        # After this statement its connection hangs; the server receives and executes it.
        self.hangs_after: bytes | None = None
        self.hung = threading.Event()

    async def run(self, ready: threading.Event) -> None:
        await super().run(ready)
        for connection in list(self.open):
            self.abort(connection)
        # Aborted connections end by themselves; cancelled ones make asyncio log an error each.
        await asyncio.gather(*self.carrying)

    def hang(self) -> int:
        """Stops every open connection; returns how many."""
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

        The yielded event is set when that has happened.
        """
        self.hung.clear()
        self.passes_commit = passed_on
        try:
            yield self.hung
        finally:
            self.passes_commit = None

    def held(self) -> int:
        """The number of hanging connections that their clients still have open."""
        return self.call(lambda: sum(connection.hangs and connection.is_held() for connection in self.open))

    def forget(self) -> None:
        """Closes the hanging connections on both sides, as PostgreSQL and the clients notice in the end."""

        def forget_now() -> None:
            for connection in [connection for connection in self.open if connection.hangs]:
                self.abort(connection)

        self.call(forget_now)

    def call(self, function: Callable[[], Result]) -> Result:
        """Calls the function in the proxy's event loop, which handles all connections, and returns its result."""

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
            if prepared := PREPARES.search(chunk):
                connection.inserts = b"\0%b\0" % prepared[1]
            connection.stores |= STORES in chunk or (connection.inserts is not None and connection.inserts in chunk)
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
        """Closes the other side after one side has closed, unless the connection hangs."""
        if not connection.hangs:
            self.abort(connection)

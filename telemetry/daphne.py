"""daphne, with a bound on what it takes in, and with an orderly end.

Of itself it spools any body whole before the application is asked, and cancels what is under way when it is stopped.
Its WebSockets are in `telemetry.daphne_sockets`.
"""

import asyncio
from typing import Any
from weakref import WeakSet

import msgspec
from daphne import server
from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from twisted.internet.defer import Deferred

from telemetry.bodies import DISCARD_FACTOR
from telemetry.daphne_sockets import PacedFactory, PacedServer
from telemetry.draining import drain
from telemetry.health import draining
from telemetry.problems import MEDIA_TYPE, document


class BoundedRequest(WebRequest):  # type: ignore[misc]  # daphne has no types
    """Keeps one byte more than the limit, by which the application knows; far beyond it the connection ends."""

    received = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  Twisted's name
        kept = max(0, settings.MAX_BODY_BYTES + 1 - self.received)
        self.received += len(data)
        if kept:
            super().handleContentChunk(data[:kept])
        if self.received > settings.MAX_BODY_BYTES * DISCARD_FACTOR:
            self.channel.transport.write(too_large())
            self.channel.loseConnection()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.channel is not None:
            self.channel.factory.answered.add(self.channel)
            if draining.is_set():
                # Said before it is done: a proxy would send its next request down this connection while it is closed.
                self.responseHeaders.setRawHeaders(b"connection", [b"close"])
                self.channel.persistent = False
        super().handle_reply(message)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    """Knows its connections, so that they can be ended one by one."""

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.protocols: WeakSet[Any] = WeakSet()
        # Channels that have had an answer.
        self.answered: WeakSet[Any] = WeakSet()

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        self.protocols.add(protocol)
        return protocol

    def open_channels(self) -> list[Any]:
        """The HTTP channels of open connections; one that was upgraded to a WebSocket is none any more."""
        channels = {protocol: protocol._channel for protocol in self.protocols}
        return [
            channel
            for protocol, channel in channels.items()
            if (transport := channel.transport) and transport.connected and transport.protocol is protocol
        ]


def too_large() -> bytes:
    """The answer of a request whose application was never asked."""
    body = msgspec.json.encode(
        document(status_code=413, code="body_too_large", detail="The body is far over the limit. Send it in parts.")
    )
    head = f"HTTP/1.1 413 Body too large\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


class Server(PacedServer):
    """`lead`: so many seconds it goes on to let clients in after it was told to stop, and says that it will."""

    def __init__(self, *, lead: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.lead = lead
        self.ports: list[Any] = []

    def run(self) -> None:
        # The only way in: `run` makes its factories itself.
        server.HTTPFactory = BoundedFactory
        server.WebSocketFactory = PacedFactory
        super().run()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)

    def kill_all_applications(self) -> Any:
        """Called before the reactor stops, which waits for the Deferred."""
        draining.set()
        return Deferred.fromFuture(asyncio.ensure_future(drain(self)))

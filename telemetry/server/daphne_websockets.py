"""daphne's WebSockets with size limits, flow control, and all registered close codes."""

import asyncio
from functools import lru_cache
from typing import Any

from autobahn.websocket.protocol import PreparedMessage
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer  # type: ignore[import-untyped]

from realtime.protocol.client_messages import MESSAGE_MAX
from telemetry.server.connections import addresses
from telemetry.server.pacing import LINGER_SECONDS, bound_unsent

# Close codes that RFC 6455 (7.4.1) and the registry let a server send, but autobahn's `sendClose` refuses.
REGISTERED_CODES = range(1001, 1015)
# "Service restart" in the registry, which uvicorn also sends when it stops: clients connect again at once.
SERVICE_RESTART = 1012
# Application messages that wait until the client has read what was sent before.
PACED = frozenset(("websocket.send", "http.response.body"))


@lru_cache(maxsize=8)
def framed(text: str) -> bytes:
    """The bytes of a text frame (RFC 6455). They are the same for all sockets, because servers do not mask frames."""
    return bytes(PreparedMessage(text.encode(), isBinary=False, applyMask=False, doNotCompress=True).payloadHybi)


@implementer(IPullProducer)
class PacedSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """A WebSocket with flow control.

    `writable` is set while the kernel has taken all sent bytes. `address` is the name under which it is counted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writable = asyncio.Event()
        self.address = ""

    def connectionLost(self, reason: Any) -> None:  # noqa: N802  Twisted's name
        super().connectionLost(reason)
        addresses.release(self.address)

    def onConnect(self, request: Any) -> Any:  # noqa: N802  autobahn's name
        bound_unsent(self.transport.getHandle())
        # The connection's HTTP channel is still registered as its producer.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, False)
        return super().onConnect(request)

    def resumeProducing(self) -> None:  # noqa: N802  Twisted's name
        """Called when all bytes are written."""
        self.writable.set()
        if self.transport.disconnecting:
            self.transport.unregisterProducer()  # the transport waits for that before it closes

    def stopProducing(self) -> None:  # noqa: N802
        self.writable.set()

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802
        if binary or self.state != self.STATE_OPEN:
            super().serverSend(content, binary)
        else:
            self.sendData(framed(content))

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:  # noqa: N802
        """Writes to the socket at once, without waiting for the reactor; the transport buffers the rest."""
        if self.writable.is_set():
            sent = self.transport.writeSomeData(data)  # bytes sent, or an error, which Twisted will meet again
            data = data[sent:] if isinstance(sent, int) and sent > 0 else data
        if data:
            self.writable.clear()
            self.transport.write(data)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N802, N803
        self.writable.set()
        super().onClose(wasClean, code, reason)

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802
        if code in REGISTERED_CODES:
            self.sendCloseFrame(code=code)
        else:
            super().serverClose(code)


class PacedFactory(WebSocketFactory):  # type: ignore[misc]
    protocol = PacedSocket

    def setProtocolOptions(self, **options: Any) -> None:  # noqa: N802
        """Limits frames. After an invalid or too large message it sends a close code; autobahn drops the connection."""
        ours = {
            # The limit of a whole message stays at 1 MiB, because autobahn applies it to sent messages too.
            "maxFramePayloadSize": 2 * MESSAGE_MAX,
            "failByDrop": False,
            "closeHandshakeTimeout": LINGER_SECONDS,
        }
        super().setProtocolOptions(**options | ours)


class PacedServer(Server):  # type: ignore[misc]
    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Makes the application wait for a client that reads slowly. A close is sent at once."""
        if message["type"] in PACED:
            await protocol.writable.wait()
        await super().handle_reply(protocol, message)

    def open_sockets(self) -> list[PacedSocket]:
        """The WebSockets whose connection is open."""
        found = [protocol for protocol in self.connections if isinstance(protocol, PacedSocket)]
        return [protocol for protocol in found if protocol.state != protocol.STATE_CLOSED]

    def close_sockets(self) -> None:
        """Sends each open WebSocket a close frame with SERVICE_RESTART; its application then gets a disconnect."""
        for protocol in self.open_sockets():
            if protocol.state == protocol.STATE_OPEN:
                protocol.serverClose(SERVICE_RESTART)

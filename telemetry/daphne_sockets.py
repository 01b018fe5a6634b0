"""daphne's WebSockets, with what they lack: bounds both ways, the pace of a reader, the registry's close codes."""

import asyncio
from typing import Any

from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer  # type: ignore[import-untyped]

from realtime.conversations import MESSAGE_MAX

# Of those that RFC 6455 (7.4.1) and the registry let a server send, the ones that autobahn's `sendClose` refuses.
REGISTERED_CODES = range(1001, 1015)

# What a client has to take in the close and what waits before it, until the connection is dropped.
LINGER_SECONDS = 10


@implementer(IPushProducer)
class PacedSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types
    """Twisted says when more than 64 KiB wait to be taken in by the client, and when no more; so does `writable`."""

    def onConnect(self, request: Any) -> Any:  # noqa: N802  autobahn's name
        self.writable = asyncio.Event()
        self.writable.set()
        # The HTTP channel, which the connection was before, has registered itself for the same news.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        return super().onConnect(request)

    def pauseProducing(self) -> None:  # noqa: N802
        self.writable.clear()

    def resumeProducing(self) -> None:  # noqa: N802
        self.writable.set()

    def stopProducing(self) -> None:  # noqa: N802
        self.writable.set()

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
        """Also closes with a code what sends too much or nonsense: by default autobahn drops the connection."""
        ours = {
            # The limit of a whole message, 1 MiB, holds for what is sent as well, so it stays as it is.
            "maxFramePayloadSize": 2 * MESSAGE_MAX,
            "failByDrop": False,
            "closeHandshakeTimeout": LINGER_SECONDS,
        }
        super().setProtocolOptions(**options | ours)


class PacedServer(Server):  # type: ignore[misc]
    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Has the application wait for a reader that is behind; a close goes out at once."""
        if message["type"] == "websocket.send":
            await protocol.writable.wait()
        await super().handle_reply(protocol, message)

"""uvicorn's WebSockets with our limits: `uvicorn --ws telemetry.server.uvicorn_websockets:Socket …`.

Without it, uvicorn receives a message of up to 16 MB before the application can refuse it. And a client that reads too
slowly gets no close: it keeps its connection, and the server keeps about 64 KiB of unsent data.
"""

from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from realtime.protocol.client_messages import MESSAGE_MAX
from telemetry.server.connections import addresses
from telemetry.server.pacing import LINGER_SECONDS, bound_unsent


class Socket(WebSocketsSansIOProtocol):
    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.conn.max_message_size = 2 * MESSAGE_MAX
        # The name under which `addresses` counts it; set by `telemetry.server.uvicorn_http`.
        self.address = ""

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        addresses.release(self.address)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        bound_unsent(transport.get_extra_info("socket"))

    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    async def send(self, message: Any) -> None:
        """Waits for a slow reader, as uvicorn does; but a close is not held back, and goes after what is buffered."""
        if message["type"] == "websocket.close":
            self.writable.set()
        await super().send(message)

"""uvicorn's WebSockets as our large fleets want them: `uvicorn --ws telemetry.uvicorn_sockets:Socket …`.

Not needed, but without it a message is taken in up to uvicorn's 16 MB before the application refuses it, and a client
that has stopped reading keeps its connection, and up to 64 KiB, after the application has closed it.
"""

from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from realtime.conversations import MESSAGE_MAX

# What a closed connection has for its last bytes.
LINGER_SECONDS = 5.0


class Socket(WebSocketsSansIOProtocol):
    def __init__(self, config: Config, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self.conn.max_message_size = 2 * MESSAGE_MAX

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if self.transport.get_write_buffer_size():
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)

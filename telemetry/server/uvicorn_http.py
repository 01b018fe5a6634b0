"""uvicorn's HTTP connections with our limits: `uvicorn --http telemetry.server.uvicorn_http:Protocol …`.

uvicorn itself has flow control, but it accepts a head of any size, waits without limit for a head, a body or a slow
reader, and accepts any number of connections from one address. The limits are in `telemetry.server.connections`.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from telemetry.server import connections
from telemetry.server.connections import Phase, Progress, Refusal, addresses, checks_of, count_dropped
from telemetry.server.pacing import bound_unsent
from telemetry.server.targets import InvalidTarget, absolute_target


class Protocol(HttpToolsProtocol):
    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.progress = Progress()
        self.address = ""
        # True after a refusal: nothing more is read.
        self.refused = False
        # Bytes of an incomplete head, not counting the chunk in which it began, and the size of the current chunk.
        self.head_size = 0
        self.chunk_size = 0
        self.unsent_is_bounded = False
        self.checks = checks_of(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.socket = transport.get_extra_info("socket")
        self.checks.add(self)
        address = connections.counted_as(self.client[0] if self.client else "")
        if refusal := addresses.admit(address, self.socket.fileno()):
            self.refused = True
            transport.write(refusal.response())
            delay = 0 if refusal is connections.TOO_FEW_FILES else connections.REFUSED_SECONDS
            self.loop.call_later(delay, transport.close)
        else:
            self.address = address

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.checks.discard(self)
        addresses.release(self.address)

    def handle_websocket_upgrade(self) -> None:
        # Imported here: `telemetry.gateway.lifespan` checks sys.modules to see if uvicorn was given this class.
        from telemetry.server.uvicorn_websockets import Socket

        if self.refused:
            return
        super().handle_websocket_upgrade()
        self.checks.discard(self)
        socket = self.transport.get_protocol()
        if isinstance(socket, Socket):
            socket.address = self.address
        else:  # started without --ws telemetry.server.uvicorn_websockets:Socket: its end would not be reported
            addresses.release(self.address)

    def pause_writing(self) -> None:
        super().pause_writing()
        if not self.unsent_is_bounded:
            self.unsent_is_bounded = True
            bound_unsent(self.socket)

    # Size of the head

    def data_received(self, data: bytes) -> None:
        if self.refused:
            return
        self.progress.begin()
        self.chunk_size = len(data)
        super().data_received(data)
        if self.progress.phase is Phase.HEAD and not self.refused:
            if self.head_size < 0:  # the head began in this chunk
                self.head_size = 0
            else:
                self.head_size += len(data)
            if self.head_size > connections.HEAD_BYTES_MAX:
                self.refuse(connections.HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.progress.phase not in (Phase.OPENED, Phase.HEAD):
            self.progress.enter(Phase.HEAD)
        self.head_size = -1

    def on_headers_complete(self) -> None:
        if self.refused:
            return
        # Measured only if the head can be too large; an incomplete head is counted in data_received.
        size = self.size_of_head() if self.chunk_size > connections.HEAD_BYTES_MAX or self.head_size > 0 else 0
        if size > connections.HEAD_BYTES_MAX or len(self.headers) > connections.HEADERS_MAX:
            self.refuse(connections.HEAD_TOO_LARGE)
            return
        try:
            target = absolute_target(self.url)
        except InvalidTarget:
            self.refuse(connections.INVALID_TARGET)
            return
        if target:
            self.url = target.origin
            # In place, because the request's scope has this list.
            self.headers[:] = [(b"host", target.host), *(pair for pair in self.headers if pair[0] != b"host")]
        super().on_headers_complete()
        # After that: for a target that it cannot parse there is no request, only a head to refuse.
        self.progress.enter(Phase.BODY)

    def size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 2 for name, value in self.headers)

    # Deadlines

    def on_body(self, body: bytes) -> None:
        if self.refused:
            return
        self.progress.received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.refused:
            return
        self.progress.enter(Phase.IDLE if self.is_answered() else Phase.ANSWER)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.progress.phase is Phase.ANSWER and self.is_answered():
            self.progress.enter(Phase.IDLE)
        elif self.progress.phase is Phase.HEAD:  # the next request, which had to wait for this answer
            self.progress.enter(Phase.HEAD)

    def is_answered(self) -> bool:
        """Whether no request waits for its answer."""
        return self.cycle is None or self.cycle.response_complete

    def check(self, now: float) -> None:
        closing = self.transport.is_closing()
        if closing or self.flow.write_paused:
            if self.progress.stalled(self.socket, now):
                count_dropped("unread")
                self.transport.abort()
            return
        self.progress.stalled_since = None
        if self.refused or not self.progress.overdue(now):
            return
        if self.progress.phase is Phase.HEAD:
            if self.is_answered():
                self.refuse(connections.HEAD_TOO_SLOW)
        elif self.progress.phase is Phase.BODY:
            self.refuse(connections.BODY_TOO_SLOW)
        elif self.progress.phase is Phase.OPENED:
            self.transport.close()
        # uvicorn itself closes IDLE connections (--timeout-keep-alive).

    def refuse(self, refusal: Refusal) -> None:
        """Answers in place of the application, unless its answer has begun, and closes the connection."""
        self.refused = True
        count_dropped(refusal.reason)
        if not self.pipeline and (
            self.is_answered() if self.progress.phase is Phase.HEAD else not self.cycle.response_started
        ):
            self.transport.write(refusal.response())
        self.transport.close()

    def send_400_response(self, msg: str) -> None:
        self.refuse(connections.MALFORMED)

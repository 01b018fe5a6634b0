"""daphne with limits for each connection (`connections`), flow control for answers, and an orderly shutdown.

daphne itself receives a body of any size before it calls the application, buffers answers without a limit for clients
that do not read, waits 60 s for each line of a head, and cancels running requests when it is stopped. For WebSockets
see `telemetry.server.daphne_websockets`.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from daphne import server
from daphne.http_protocol import HTTPFactory, WebRequest
from django.conf import settings
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.http import HTTPChannel

from telemetry.gateway.bodies import DISCARD_FACTOR
from telemetry.health import closing, draining
from telemetry.server import connections
from telemetry.server.connections import Phase, Progress, Refusal, addresses, checks_of, count_dropped
from telemetry.server.daphne_websockets import PacedFactory, PacedServer, PacedSocket
from telemetry.server.draining import drain, receive_again
from telemetry.server.mqtt import Listener
from telemetry.server.pacing import bound_unsent
from telemetry.server.targets import InvalidTarget, absolute_target

logger = logging.getLogger(__name__)

# Any, because Twisted's types are incomplete and do not describe socket transports.
Channel: Any = HTTPChannel
loop_of_reactor: Any = reactor
TOO_LARGE = Refusal(
    "body_too_large", 413, "body_too_large", "The body is much larger than the limit. Send it in parts."
)


class BoundedChannel(Channel):  # type: ignore[misc]
    """An HTTP connection, with a limit per address, deadlines for the client, and flow control.

    `writable` is set while the kernel has taken (nearly) all sent bytes. `answered`: it has had an answer.
    """

    maxHeaders = connections.HEADERS_MAX  # noqa: N815  Twisted's name
    totalHeadersSize = connections.HEAD_BYTES_MAX  # noqa: N815

    def __init__(self) -> None:
        super().__init__()
        self.writable = asyncio.Event()
        self.writable.set()
        self.progress = Progress()
        self.answered = False
        # The name under which `addresses` counts it; "" if it is not counted.
        self.address = ""
        # True after a refusal: nothing more is read.
        self.refused = False

    def connectionMade(self) -> None:  # noqa: N802
        super().connectionMade()
        if draining.is_set() or self.factory.shares_port:
            receive_again(self.transport.getHandle())
        self.factory.channels.add(self)
        self.checks = checks_of(asyncio.get_event_loop())
        self.checks.add(self)
        address = connections.counted_as(getattr(self.transport.getPeer(), "host", ""))
        if refusal := addresses.admit(address, self.transport.fileno()):
            self.refused = True
            self.transport.write(refusal.response())
            delay = 0 if refusal is connections.TOO_FEW_FILES else connections.REFUSED_SECONDS
            self.callLater(delay, self.loseConnection)
        else:
            self.address = address

    def connectionLost(self, reason: Any) -> None:  # noqa: N802
        super().connectionLost(reason)
        self.writable.set()
        self.forget()
        addresses.release(self.address)

    def become_socket(self, socket: PacedSocket) -> None:
        """Hands this connection, with its count for the address, over to a WebSocket."""
        socket.address = self.address
        self.forget()

    def forget(self) -> None:
        self.factory.channels.discard(self)
        self.checks.discard(self)

    # Deadlines

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        if not self.refused:
            self.progress.begin()
            super().dataReceived(data)

    def allHeadersReceived(self) -> None:  # noqa: N802
        self.progress.enter(Phase.BODY)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:  # noqa: N802
        self.progress.enter(Phase.ANSWER)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:  # noqa: N802
        self.progress.enter(Phase.IDLE)
        super().requestDone(request)

    def check(self, now: float) -> None:
        if not self.writable.is_set() or self.transport.disconnecting:
            if self.progress.stalled(self.transport.getHandle(), now):
                count_dropped("unread")
                self.transport.abortConnection()
            return
        self.progress.stalled_since = None
        if not self.refused and self.progress.overdue(now):
            if self.progress.phase is Phase.HEAD:
                self.refuse(connections.HEAD_TOO_SLOW)
            elif self.progress.phase is Phase.BODY:
                self.refuse(connections.BODY_TOO_SLOW)
            else:  # no answer: on a browser's spare connection it would be taken as that of the next request
                self.loseConnection()

    def refuse(self, refusal: Refusal) -> None:
        """Answers in place of the application, and closes the connection."""
        self.refused = True
        count_dropped(refusal.reason)
        self.transport.write(refusal.response())
        self.loseConnection()

    def lineLengthExceeded(self, line: bytes) -> None:  # noqa: N802
        self.refuse(connections.HEAD_TOO_LARGE)

    def _respondToBadRequestAndDisconnect(self) -> None:  # noqa: N802
        """Answers with a problem document. Twisted's answer has no body, and is a 400 for too large a head, too."""
        too_large = self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders
        self.refuse(connections.HEAD_TOO_LARGE if too_large else connections.MALFORMED)

    # Flow control: Twisted calls `pauseProducing` when its buffer exceeds 64 KiB, `resumeProducing` when it is empty.

    def pauseProducing(self) -> None:  # noqa: N802
        super().pauseProducing()
        if self.writable.is_set():
            self.writable.clear()
            bound_unsent(self.transport.getHandle())

    def resumeProducing(self) -> None:  # noqa: N802
        super().resumeProducing()
        self.writable.set()


class BoundedRequest(WebRequest):  # type: ignore[misc]  # daphne has no types
    """Keeps one byte more of a body than the limit, so that the application sees that it is too large.

    The connection is closed when the body exceeds DISCARD_FACTOR times the limit.
    """

    received = 0
    uri: bytes  # set by Twisted

    def __init__(self, channel: BoundedChannel, *args: Any, **options: Any) -> None:
        super().__init__(channel, *args, **options)
        self.writable = channel.writable

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802  Twisted's name
        kept = max(0, settings.MAX_BODY_BYTES + 1 - self.received)
        self.received += len(data)
        self.channel.progress.received = self.received
        if kept:
            super().handleContentChunk(data[:kept])
        if self.received > settings.MAX_BODY_BYTES * DISCARD_FACTOR:
            self.channel.refuse(TOO_LARGE)

    def process(self) -> Any:
        channel = self.channel
        try:
            target = absolute_target(self.uri)
        except InvalidTarget:
            channel.refuse(connections.INVALID_TARGET)
            return None
        if target:
            self.uri, self.path = target.origin, target.origin.partition(b"?")[0]
            self.requestHeaders.setRawHeaders(b"host", [target.host])
        transport = channel.transport
        processed = super().process()
        if transport.protocol is not channel and isinstance(transport.protocol, PacedSocket):
            channel.become_socket(transport.protocol)
        return processed

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.channel is not None:
            self.channel.answered = True
            if draining.is_set():
                # Announced in the answer, because a proxy could otherwise send its next request while this closes.
                self.responseHeaders.setRawHeaders(b"connection", [b"close"])
                self.channel.persistent = False
        super().handle_reply(message)


class BoundedFactory(HTTPFactory):  # type: ignore[misc]
    """`channels` are the open HTTP connections, without those that became WebSockets."""

    protocol = BoundedChannel

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        self.timeOut = None  # `BoundedChannel.check` replaces Twisted's time-out
        self.channels: set[BoundedChannel] = set()
        # The supervisor of several workers may call `begin_no_more` before this process knows of it.
        self.shares_port = server.shares_port

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        return protocol


class Server(PacedServer):
    """`lead`: seconds for which it still accepts connections after it was told to stop."""

    # True if other processes go on to accept on the same port.
    shares_port = False

    def __init__(self, *, lead: float = 0.0, start_mqtt: Callable[[], Listener] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.start_mqtt = start_mqtt
        self.mqtt: Listener | None = None
        self.lead = lead
        self.ports: list[Any] = []

    def run(self) -> None:
        # Replaced in daphne's module, because `run` creates its factories itself.
        server.HTTPFactory = BoundedFactory
        server.WebSocketFactory = PacedFactory
        super().run()

    def listen_success(self, port: Any) -> None:
        super().listen_success(port)
        self.ports.append(port)
        if self.start_mqtt is not None and self.mqtt is None:
            # Called before the event loop runs.
            loop_of_reactor.callLater(0, self.begin_mqtt, self.start_mqtt)
            self.start_mqtt = None

    def begin_mqtt(self, start: Callable[[], Listener]) -> None:
        self.starting_mqtt = asyncio.ensure_future(self.listen_for_mqtt(start))

    async def listen_for_mqtt(self, start: Callable[[], Listener]) -> None:
        try:
            self.mqtt = start()
            await self.mqtt.start_beside(lambda text: print(text, flush=True))  # noqa: T201
        except Exception:  # HTTP is served in any case
            logger.exception("MQTT could not be started")

    def kill_all_applications(self) -> Any:
        """Starts draining. Twisted calls it before the reactor stops, and waits for the Deferred."""
        draining.set()
        if not self.shares_port:
            closing.set()
        return Deferred.fromFuture(asyncio.ensure_future(self.drain()))

    async def drain(self) -> None:
        mqtt = [self.mqtt.stop()] if self.mqtt is not None else []
        await asyncio.gather(drain(self), *mqtt)

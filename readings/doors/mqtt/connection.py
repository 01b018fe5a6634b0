"""One MQTT connection: reads packets as fast as their messages are stored, and writes the answers."""

import asyncio
import logging
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

from readings.doors.mqtt import instruments
from readings.doors.mqtt.admission import PACKET_BYTES_MAX, admit
from readings.doors.mqtt.backlog import SMALL_BYTES
from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.decoding import Kind, PacketStream, decode
from readings.doors.mqtt.codec.packets import (
    MQTT_3_1_1,
    Connect,
    Disconnect,
    Packet,
    PingRequest,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
)
from readings.doors.mqtt.codec.properties import Properties, Property
from readings.doors.mqtt.codec.reasons import PacketError, Reason
from readings.doors.mqtt.credentials import Identity
from readings.doors.mqtt.messages import MESSAGES_MAX, Messages
from readings.doors.mqtt.storing import Sender
from readings.doors.mqtt.subscriptions import Subscriptions

if TYPE_CHECKING:
    from readings.doors.mqtt.clients import Clients

logger = logging.getLogger(__name__)

# Bytes of a packet, header included, before CONNECT was accepted; afterwards PACKET_BYTES_MAX.
CONNECT_BYTES_MAX = SMALL_BYTES


class Phase(Enum):
    OPENED = "waiting for CONNECT"
    ADMITTING = "looking up the key"
    CONNECTED = "connected"
    CLOSED = "closed"


class Connection(asyncio.BufferedProtocol):
    """The protocol of one connection.

    While too many of its messages wait, nothing is read: the client is slowed down, and no message is dropped.
    `messages`, `identity` and `client_id` are set when CONNECT was accepted.
    """

    __slots__ = (
        *("address", "admitting", "awaits_room", "client_id", "clients", "counted_as", "heard_at", "identity"),
        *("keep_alive", "level", "messages", "packet_max", "packet_since", "paused", "phase", "problem_information"),
        *("reserved", "since", "stream", "subscriptions", "transport", "unread_since", "will"),
    )

    transport: asyncio.Transport
    messages: Messages

    def __init__(self, clients: "Clients") -> None:
        self.clients = clients
        self.phase = Phase.OPENED
        self.stream = PacketStream(CONNECT_BYTES_MAX)
        self.since = self.heard_at = time.monotonic()
        # When the incomplete packet at the beginning of the stream began to arrive.
        self.packet_since: float | None = None
        self.address = self.counted_as = self.client_id = ""
        self.level = MQTT_3_1_1
        self.identity: Identity | None = None
        self.keep_alive = 0
        self.will: Will | None = None
        self.problem_information = True
        self.packet_max = 0
        self.subscriptions: Subscriptions | None = None
        self.reserved = 0  # bytes of the backlog for the incomplete packet
        self.awaits_room = self.paused = False
        self.unread_since: float | None = None
        self.admitting: asyncio.Task[None] | None = None

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        counted_as = self.clients.enter(self, transport.get_extra_info("socket").fileno())
        if counted_as is None:
            self.phase = Phase.CLOSED
            self.transport.abort()
        else:
            self.counted_as = counted_as

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.clients.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard_at = time.monotonic()
        if self.phase is not Phase.CLOSED:
            self.stream.feed(self.clients.buffer[:nbytes])
            self.read_on()

    def pause_writing(self) -> None:
        self.unread_since = time.monotonic()
        self.flow()

    def resume_writing(self) -> None:
        self.unread_since = None
        self.read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.admitting:
            self.admitting.cancel()
        if self.identity is not None:
            self.messages.gone_at = time.monotonic()
        if self.phase is Phase.CONNECTED:
            self.take_rest()
        self.phase = Phase.CLOSED
        self.clients.backlog.forget(self.read_on)
        self.clients.backlog.give_back(self.reserved)
        self.reserved = 0
        self.clients.leave(self)
        if self.will is not None and self.identity is not None and not self.clients.draining:
            self.messages.add_will(self.will)

    def take_rest(self) -> None:
        """Takes the complete messages that were received and not read yet, because the client is gone."""
        try:
            while (raw := self.stream.next()) is not None and raw[0] >> 4 in (Kind.PUBLISH, Kind.DISCONNECT):
                packet = decode(*raw, self.level)
                if isinstance(packet, Disconnect):
                    self.will = self.will if packet.reason == Reason.DISCONNECT_WITH_WILL else None
                    return
                if isinstance(packet, Publish) and packet.qos < 2:
                    self.messages.add(packet)
        except PacketError as error:
            logger.debug("MQTT: the rest of a closed connection is no packet (%s)", error)

    # Reading

    def may_take(self) -> bool:
        if self.phase is Phase.CONNECTED:
            return self.messages.unfinished < MESSAGES_MAX and not self.awaits_room and self.unread_since is None
        return self.phase is Phase.OPENED

    def read_on(self) -> None:
        """Handles the packets that were received, as far as there is room for their messages."""
        self.awaits_room = False
        try:
            while self.may_take() and self.has_room():
                raw = self.stream.next()
                if raw is None:
                    break
                self.packet_since = None
                self.handle(raw)
            if self.phase is Phase.CONNECTED and not self.awaits_room:
                self.reserve()
        except PacketError as error:
            self.fail(error.reason, str(error))
        self.flow()

    def has_room(self) -> bool:
        """Whether the backlog has room for one more message."""
        backlog = self.clients.backlog
        if self.phase is not Phase.CONNECTED or backlog.used < backlog.limit or not self.messages.unfinished:
            return True
        self.await_room()
        return False

    def reserve(self) -> None:
        """Takes room for the incomplete packet before the rest of it is read, if it is large."""
        if self.stream.buffer and self.packet_since is None:
            self.packet_since = time.monotonic()
        announced = self.stream.announced
        if announced > SMALL_BYTES and not self.reserved:
            if self.clients.backlog.take(announced, first=False):
                self.reserved = announced
            else:
                self.await_room()

    def await_room(self) -> None:
        self.awaits_room = True
        self.clients.backlog.await_room(self.read_on)

    def flow(self) -> None:
        """Stops or continues reading."""
        if self.phase is Phase.CLOSED or self.transport.is_closing():
            return
        pause = not self.may_take()
        if pause is not self.paused:
            self.paused = pause
            if pause:
                self.transport.pause_reading()
            else:
                self.heard_at = time.monotonic()
                self.transport.resume_reading()

    def handle(self, raw: tuple[int, bytes]) -> None:
        packet = decode(*raw, self.level)
        if self.phase is Phase.OPENED:
            if not isinstance(packet, Connect):
                raise PacketError("The first packet must be CONNECT.", Reason.PROTOCOL_ERROR)  # [MQTT-3.1.0-1]
            self.phase = Phase.ADMITTING
            self.admitting = asyncio.get_running_loop().create_task(admit(self, packet))
        elif isinstance(packet, Publish):
            self.published(packet)
        else:
            self.answer(packet)

    def answer(self, packet: Packet) -> None:
        match packet:
            case PingRequest():
                self.write(encoding.PING_RESPONSE)
            case Disconnect():
                if packet.reason != Reason.DISCONNECT_WITH_WILL:
                    self.will = None  # [MQTT-3.14.4-3]
                self.finish()
            case Subscribe():
                self.write(self.subscribed().subscribe(packet))
            case Unsubscribe():
                self.write(self.subscribed().unsubscribe(packet))
            case Connect():
                raise PacketError("A second CONNECT.", Reason.PROTOCOL_ERROR)  # [MQTT-3.1.0-2]

    def welcome(self, connect: Connect, identity: Identity, client_id: str, properties: Properties) -> None:
        """Accepts CONNECT. `properties`: of CONNACK."""
        self.admitting = None  # so that the finished task takes no memory
        self.client_id, self.identity = client_id, identity
        self.keep_alive, self.will = connect.keep_alive, connect.will
        self.problem_information = bool(connect.properties.get(Property.REQUEST_PROBLEM_INFORMATION, 1))
        self.packet_max = connect.properties.get(Property.MAXIMUM_PACKET_SIZE, 0)
        role: Any = identity.caller.role.value
        self.messages = Messages(self, Sender(identity.own, role, identity.name, self.address, identity.caller))
        self.phase = Phase.CONNECTED
        self.stream.limit = PACKET_BYTES_MAX
        self.clients.connected(self)
        self.write(encoding.connack(self.level, Reason.SUCCESS, properties))
        self.read_on()

    def published(self, packet: Publish) -> None:
        if packet.qos == 2:
            raise PacketError("QoS 2 is not supported. Use QoS 1.", Reason.QOS_NOT_SUPPORTED)
        self.messages.add(packet, reserved=self.reserved)
        self.reserved = 0

    def subscribed(self) -> Subscriptions:
        """The subscriptions, made at the first one, because few clients have any."""
        assert self.identity is not None
        if self.subscriptions is None:
            self.subscriptions = Subscriptions(self.identity.own, self.level)
        return self.subscriptions

    # The end

    def drop(self, label: str, reason: Reason | None = None, detail: str = "") -> None:
        """Ends the connection because of what the client does or does not do; its will is published."""
        instruments.DROPPED_CONNECTIONS.labels(label).inc()
        if reason is None:
            self.transport.abort()
            return
        self.end(reason, detail)

    def fail(self, reason: Reason, detail: str) -> None:
        """Ends the connection because of a packet that cannot be accepted."""
        logger.debug("MQTT connection of %s ended: %s", self.client_id or self.address, detail)
        instruments.DROPPED_CONNECTIONS.labels(reason.name.lower()).inc()
        if self.phase is Phase.OPENED and reason is Reason.UNSUPPORTED_VERSION:
            self.write(encoding.connack(self.level, reason))
            self.finish()
        elif self.phase is Phase.CONNECTED:
            self.clients.note_failure(self, detail, reason)
            self.end(reason, detail)
        else:
            self.finish()

    def end(self, reason: Reason, detail: str = "") -> None:
        """Tells a client of MQTT 5 why, and closes."""
        if self.phase is Phase.CONNECTED:
            self.write(encoding.disconnect(self.level, reason, detail if self.problem_information else ""))
        self.finish()

    def finish(self) -> None:
        """Closes the connection after what was written, and what is being stored, is sent."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self.since = time.monotonic()
        self.clients.backlog.forget(self.read_on)
        if self.identity is not None and self.messages.unfinished and self.messages.storing is not None:
            self.messages.storing.add_done_callback(lambda _: self.transport.close())
            if not self.transport.is_closing():
                self.transport.resume_reading()  # so that the end of the client is noticed
        else:
            self.transport.close()

    def write(self, packet: bytes) -> None:
        if packet and not self.transport.is_closing():
            self.transport.write(packet)

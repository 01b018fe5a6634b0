"""One MQTT connection: bytes in, packets out, in the order of the specification."""

import asyncio
import logging
import time
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from readings.doors.mqtt import instruments
from readings.doors.mqtt.backlog import MESSAGE_BYTES, SMALL_BYTES
from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.decoding import Kind, PacketStream, decode
from readings.doors.mqtt.codec.packets import (
    MQTT_3_1_1,
    MQTT_5,
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
from readings.doors.mqtt.credentials import Identity, NotAdmitted, identify
from readings.doors.mqtt.storing import GivenUp, Message, Outcome, Sender, Storing
from readings.doors.mqtt.topics import Meaning, is_own_filter, matches, meaning_of, refused_topic
from readings.ingest.refused_posts import refused_post

if TYPE_CHECKING:
    from readings.doors.mqtt.clients import Clients

logger = logging.getLogger(__name__)

# Bytes of one packet, header included, before and after CONNECT was accepted.
CONNECT_BYTES_MAX = SMALL_BYTES
PACKET_BYTES_MAX = 256 * 1024
# Messages of one connection that wait to be stored: Receive Maximum of MQTT 5. Clients of 3.1.1 are read more slowly.
MESSAGES_MAX = 100
# Subscriptions of one connection.
FILTERS_MAX = 50
# Seconds from accept() to a complete CONNECT, and for a packet besides one second for each KiB.
CONNECT_SECONDS = 10.0
PACKET_SECONDS = 10.0
PACKET_BYTES_PER_SECOND = 1024
# A client may be silent for 1.5 times its keep-alive [MQTT-3.1.2-24].
KEEP_ALIVE_FACTOR = 1.5
# A client that does not read what is sent is disconnected after this time.
UNREAD_SECONDS = 30.0
# How long messages of a client that is gone are tried to be stored. A message with QoS 1 comes again.
GONE_SECONDS = 5.0


class Phase(Enum):
    OPENED = "waiting for CONNECT"
    ADMITTING = "looking up the key"
    CONNECTED = "connected"
    CLOSED = "closed"


class Connection(asyncio.BufferedProtocol):
    """The protocol of one connection.

    Messages wait in `waiting` until the task `storing` has stored them; it acknowledges them in their order
    [MQTT-4.6.0-2]. While too many wait, nothing is read: the client is slowed down, and no message is dropped.
    """

    transport: asyncio.Transport

    def __init__(self, clients: "Clients") -> None:
        self.clients = clients
        self.phase = Phase.OPENED
        self.stream = PacketStream(CONNECT_BYTES_MAX)
        self.since = self.heard_at = time.monotonic()
        # When the incomplete packet at the beginning of the stream began to arrive.
        self.packet_since: float | None = None
        self.address = self.counted_as = ""
        self.level = MQTT_3_1_1
        self.client_id = ""
        self.identity: Identity | None = None
        self.keep_alive = 0
        self.will: Will | None = None
        self.problem_information = True
        self.packet_max = 0
        self.filters: set[str] = set()
        self.waiting: deque[Message] = deque()
        self.unfinished = 0  # messages that wait or are being stored
        self.reserved = 0  # bytes of the backlog for the incomplete packet
        self.awaits_room = self.paused = False
        self.unread_since: float | None = None
        self.storing: asyncio.Task[None] | None = None
        self.admitting: asyncio.Task[None] | None = None
        self.gone_at: float | None = None

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        counted_as = self.clients.enter(self, transport.get_extra_info("socket").fileno())
        if counted_as is None:
            self.phase = Phase.CLOSED
            transport.abort()
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
        self.gone_at = time.monotonic()
        if self.admitting:
            self.admitting.cancel()
        was_connected = self.phase is Phase.CONNECTED
        if was_connected:
            self.take_rest()
        self.phase = Phase.CLOSED
        self.clients.backlog.forget(self.read_on)
        self.clients.backlog.give_back(self.reserved)
        self.reserved = 0
        self.clients.leave(self)
        if self.will is not None and self.identity is not None and not self.clients.draining:
            self.publish_will(self.will)

    def take_rest(self) -> None:
        """Takes the complete messages that were received and not read yet, because the client is gone."""
        try:
            while (raw := self.stream.next()) is not None and raw[0] >> 4 in (Kind.PUBLISH, Kind.DISCONNECT):
                packet = decode(*raw, self.level)
                if isinstance(packet, Disconnect):
                    self.will = self.will if packet.reason == Reason.DISCONNECT_WITH_WILL else None
                    return
                if isinstance(packet, Publish) and packet.qos < 2:
                    size = len(packet.payload) + MESSAGE_BYTES
                    self.clients.backlog.add(size)
                    self.add(Message(packet.topic, meaning_of(packet.topic), packet.payload, timezone.now(), size=size))
        except PacketError as error:
            logger.debug("MQTT: the rest of a closed connection is no packet (%s)", error)

    # Reading

    def may_take(self) -> bool:
        if self.phase is Phase.CONNECTED:
            return self.unfinished < MESSAGES_MAX and not self.awaits_room and self.unread_since is None
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
        if backlog.used < backlog.limit or not self.unfinished or self.phase is not Phase.CONNECTED:
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
            self.admitting = asyncio.get_running_loop().create_task(self.admit(packet))
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
                self.write(
                    encoding.suback(self.level, packet.packet_id, [self.subscribed(f) for f, _ in packet.filters])
                )
            case Unsubscribe():
                codes = [
                    Reason.SUCCESS if f in self.filters else Reason.NO_SUBSCRIPTION_EXISTED for f in packet.filters
                ]
                self.filters.difference_update(packet.filters)
                self.write(encoding.unsuback(self.level, packet.packet_id, codes))
            case Connect():
                raise PacketError("A second CONNECT.", Reason.PROTOCOL_ERROR)  # [MQTT-3.1.0-2]

    def subscribed(self, text: str) -> int:
        """The code of SUBACK: 0 for a granted QoS of 0, or a refusal."""
        assert self.identity is not None
        if text.startswith("$share/"):
            return Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED if self.level == MQTT_5 else encoding.SUBSCRIPTION_FAILED
        if not is_own_filter(text, self.identity.own):
            return Reason.NOT_AUTHORIZED if self.level == MQTT_5 else encoding.SUBSCRIPTION_FAILED
        if len(self.filters) >= FILTERS_MAX and text not in self.filters:
            return Reason.QUOTA_EXCEEDED if self.level == MQTT_5 else encoding.SUBSCRIPTION_FAILED
        self.filters.add(text)
        return 0

    # Connecting

    async def admit(self, connect: Connect) -> None:
        self.level = connect.level
        try:
            if Property.AUTHENTICATION_METHOD in connect.properties:
                raise NotAdmitted(
                    Reason.BAD_AUTHENTICATION_METHOD, "not_authenticated", "Use a user name and a password."
                )
            if connect.will is not None and connect.will.qos == 2 and self.level == MQTT_5:
                raise NotAdmitted(Reason.QOS_NOT_SUPPORTED, "qos_not_supported", "QoS 2 is not supported.", status=400)
            if not connect.client_id and not connect.clean and self.level == MQTT_3_1_1:  # [MQTT-3.1.3-8]
                detail = "Without a client id Clean Session must be 1."
                raise NotAdmitted(Reason.INVALID_CLIENT_ID, "invalid_client_id", detail, status=400)
            identity = await identify(connect, self.clients.way)
            if self.clients.is_full(identity):
                detail = "This key has too many connections."
                raise NotAdmitted(Reason.QUOTA_EXCEEDED, "too_many_connections", detail, status=503)
        except NotAdmitted as error:
            await self.refuse(error)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("MQTT: a key cannot be looked up: %s", str(error).strip())
            self.refuse_with(Reason.SERVER_UNAVAILABLE, "database")
        except Exception:
            logger.exception("MQTT: a connection could not be admitted")
            self.refuse_with(Reason.UNSPECIFIED_ERROR, "server_error")
        else:
            self.welcome(connect, identity)

    def welcome(self, connect: Connect, identity: Identity) -> None:
        properties: Properties = {}
        self.client_id = connect.client_id or uuid4().hex
        self.keep_alive, self.will, self.identity = connect.keep_alive, connect.will, identity
        if self.level == MQTT_5:
            properties = {
                Property.SESSION_EXPIRY: 0,
                Property.RECEIVE_MAXIMUM: MESSAGES_MAX,
                Property.MAXIMUM_QOS: 1,
                Property.MAXIMUM_PACKET_SIZE: PACKET_BYTES_MAX,
                Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0,
                Property.SHARED_SUBSCRIPTION_AVAILABLE: 0,
            }
            if not connect.client_id:
                properties[Property.ASSIGNED_CLIENT_ID] = self.client_id
            self.problem_information = bool(connect.properties.get(Property.REQUEST_PROBLEM_INFORMATION, 1))
            self.packet_max = connect.properties.get(Property.MAXIMUM_PACKET_SIZE, 0)
        self.phase = Phase.CONNECTED
        self.stream.limit = PACKET_BYTES_MAX
        role: Any = identity.caller.role.value
        self.sender = Sender(identity.own, role, identity.name, self.address, identity.caller)
        self.clients.connected(self)
        self.write(encoding.connack(self.level, Reason.SUCCESS, properties))
        self.read_on()

    async def refuse(self, error: NotAdmitted) -> None:
        own = error.caller.device.device_id if error.caller and error.caller.device else ""
        refusal = refused_post(
            caller=error.caller.role.value if error.caller else "nobody",
            unknown_key=error.key or None,
            device_id=own,
            address=self.address,
            status=error.status,
            code=error.code,
            detail=f"MQTT: {error.detail}",
        )
        await self.clients.way.note(refusal, now=timezone.now())
        self.refuse_with(error.reason, error.code)

    def refuse_with(self, reason: Reason, label: str) -> None:
        instruments.REFUSED_CONNECTIONS.labels(label).inc()
        self.write(encoding.connack(self.level, reason))
        self.finish()

    # Messages

    def published(self, packet: Publish) -> None:
        if packet.qos == 2:
            raise PacketError("QoS 2 is not supported. Use QoS 1.", Reason.QOS_NOT_SUPPORTED)
        size = len(packet.payload) + MESSAGE_BYTES
        if self.reserved:
            size, self.reserved = self.reserved, 0
        else:
            self.clients.backlog.add(size)
        topic = meaning_of(packet.topic)
        self.add(Message(packet.topic, topic, packet.payload, timezone.now(), packet.qos, packet.packet_id, size))

    def publish_will(self, will: Will) -> None:
        """Publishes the will. A device that has another connection is not offline, whatever this one says."""
        assert self.identity is not None
        topic = meaning_of(will.topic)
        is_status = topic is not None and topic.meaning is Meaning.STATUS
        if is_status and self.identity.own is not None and self.clients.is_connected(self.identity):
            return
        size = len(will.payload) + MESSAGE_BYTES
        self.clients.backlog.add(size)
        self.add(Message(will.topic, topic, will.payload, timezone.now(), size=size))

    def add(self, message: Message) -> None:
        self.waiting.append(message)
        self.unfinished += 1
        if self.storing is None:
            self.storing = asyncio.get_running_loop().create_task(self.store())
            self.clients.tasks.add(self.storing)
            self.storing.add_done_callback(self.clients.tasks.discard)

    async def store(self) -> None:
        """Stores the waiting messages and acknowledges them, until none waits."""
        storing = Storing(self.clients.way, self.sender, self.clients.say, self.gives_up)
        messages: list[Message] = []
        try:
            while self.waiting:
                wait = self.clients.must_wait(self.sender)
                if wait:
                    await asyncio.sleep(wait)
                    continue
                messages = [self.waiting.popleft()]
                while self.waiting and len(messages) < MESSAGES_MAX and not self.clients.must_wait(self.sender):
                    messages.append(self.waiting.popleft())
                self.acknowledge(messages, await storing.finish(messages))
                self.release(messages)
                messages = []
                self.read_on()
        except GivenUp:
            instruments.MESSAGES.labels("given_up").inc(len(messages) + len(self.waiting))
        except Exception:
            logger.exception("MQTT: the messages of a connection could not be handled")
            self.fail(Reason.UNSPECIFIED_ERROR, "")
        finally:
            self.storing = None
            self.release([*messages, *self.waiting])
            self.waiting.clear()

    def release(self, messages: list[Message]) -> None:
        self.unfinished -= len(messages)
        self.clients.backlog.give_back(sum(message.size for message in messages))

    def gives_up(self) -> bool:
        return self.clients.given_up or (self.gone_at is not None and time.monotonic() - self.gone_at > GONE_SECONDS)

    def acknowledge(self, messages: list[Message], outcomes: list[Outcome]) -> None:
        packets = []
        for message, outcome in zip(messages, outcomes, strict=True):
            detail = outcome.refused[1].detail if outcome.refused else ""
            if message.qos:
                shown = detail[:200] if self.problem_information else ""
                packets.append(encoding.puback(self.level, message.packet_id, outcome.reason, shown))
            if outcome.refused:
                self.clients.tell_refused(self, message, outcome)
        if packets:
            self.write(b"".join(packets))

    def tell_refused(self, message: Message, outcome: Outcome) -> None:
        """Sends why a message was refused, if the client has subscribed to that."""
        assert outcome.refused is not None
        device_id, refusal = outcome.refused
        topic = refused_topic(device_id or (self.identity.own if self.identity else "") or "unknown")
        if not any(matches(text, topic) for text in self.filters) or self.unread_since is not None:
            return
        document = msgspec.json.encode({"topic": message.name, **msgspec.structs.asdict(refusal)})
        packet = encoding.publish(self.level, topic, document)
        if not self.packet_max or len(packet) <= self.packet_max:  # [MQTT-3.1.2-24] of MQTT 5
            self.write(packet)

    # The end

    def check(self, now: float) -> None:
        """Ends the connection if it missed a deadline. `now`: of `time.monotonic`."""
        if self.phase is Phase.CLOSED:
            if now - self.since > GONE_SECONDS:
                self.transport.abort()
        elif self.unread_since is not None and now - self.unread_since > UNREAD_SECONDS:
            self.drop("unread")
        elif self.phase is Phase.OPENED:
            if now - self.since > CONNECT_SECONDS:
                self.drop("connect")
        elif self.paused:
            self.heard_at = now
            self.packet_since = self.packet_since and now
        elif self.packet_since is not None and now - self.packet_since > self.packet_seconds():
            self.drop("packet", Reason.MALFORMED_PACKET, "A packet did not arrive completely.")
        elif self.keep_alive and now - self.heard_at > self.keep_alive * KEEP_ALIVE_FACTOR:
            self.drop("keep_alive", Reason.KEEP_ALIVE_TIMEOUT, "Nothing arrived within 1.5 times the keep-alive.")

    def packet_seconds(self) -> float:
        return PACKET_SECONDS + self.stream.announced / PACKET_BYTES_PER_SECOND

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
        if self.unfinished and self.storing is not None:
            self.storing.add_done_callback(lambda _: self.transport.close())
            if not self.transport.is_closing():
                self.transport.resume_reading()  # so that the end of the client is noticed
        else:
            self.transport.close()

    def write(self, packet: bytes) -> None:
        if packet and not self.transport.is_closing():
            self.transport.write(packet)

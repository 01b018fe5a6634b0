"""A subscriber's side of MQTT 3.1.1: what it sends, and what a broker sends. Without input and output."""

from collections.abc import Sequence

import msgspec

from readings.doors.mqtt.codec.decoding import Kind
from readings.doors.mqtt.codec.encoding import framed
from readings.doors.mqtt.codec.fields import TWO_BYTES, Fields, encoded_binary, encoded_text
from readings.doors.mqtt.codec.packets import MQTT_3_1_1
from readings.doors.mqtt.codec.reasons import PacketError
from readings.doors.mqtt.subscriber.addresses import BrokerAddress

PING = bytes((Kind.PINGREQ << 4, 0))
DISCONNECT = bytes((Kind.DISCONNECT << 4, 0))
QOS = 1
# The code of a SUBACK that refuses a filter.
REFUSED = 0x80
# What a broker says in CONNACK (3.1.1, table 3.1).
RETURN_CODES = {
    1: "it does not speak MQTT 3.1.1",
    2: "it refuses the client id",
    3: "it is not available",
    4: "it refuses the user name or the password",
    5: "this user may not connect",
}
# What comes before a payload: the header, the topic, the packet identifier.
HEAD_BYTES_MAX = 5 + 2 + 65_535 + 2


class Delivery(msgspec.Struct, frozen=True):
    """A PUBLISH from the broker. `payload` None: it was too large and was not kept."""

    topic: str
    payload: bytes | None
    qos: int
    packet_id: int
    dup: bool
    retain: bool


class Admitted(msgspec.Struct, frozen=True):
    """A CONNACK. `code` 0: the broker accepts. `resumed`: it has kept the session."""

    code: int
    resumed: bool


class Subscribed(msgspec.Struct, frozen=True):
    """A SUBACK with a code for each filter."""

    codes: bytes


class Pong(msgspec.Struct, frozen=True):
    pass


def connect(address: BrokerAddress, *, keep_alive: int) -> bytes:
    """CONNECT for a session that the broker keeps (Clean Session 0). `keep_alive`: seconds."""
    flags = (0x80 if address.user_name is not None else 0) | (0x40 if address.password is not None else 0)
    body = encoded_text("MQTT") + bytes((MQTT_3_1_1, flags)) + TWO_BYTES.pack(keep_alive)
    body += encoded_text(address.client_id)
    if address.user_name is not None:
        body += encoded_text(address.user_name)
    if address.password is not None:
        body += encoded_binary(address.password.encode())
    return framed(Kind.CONNECT << 4, body)


def subscribe(packet_id: int, filters: Sequence[str]) -> bytes:
    body = TWO_BYTES.pack(packet_id) + b"".join(encoded_text(text) + bytes([QOS]) for text in filters)
    return framed(Kind.SUBSCRIBE << 4 | 2, body)


class DeliveryStream:
    """Cuts what a broker sends into packets.

    Of a message with more than `limit` bytes only the head is kept. If it ended the connection, as at the listener, it
    would come back for ever.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = bytearray()
        self.skip = 0  # bytes of a large message that still have to arrive

    def feed(self, chunk: bytes) -> None:
        if self.skip:
            dropped = min(self.skip, len(chunk))
            self.skip -= dropped
            chunk = chunk[dropped:]
        self.buffer += chunk

    def next(self) -> Delivery | Admitted | Subscribed | Pong | None:
        """The next packet; None if it is not complete. Raises PacketError."""
        buffer = self.buffer
        length = shift = 0
        for place in range(1, 5):
            if place >= len(buffer):
                return None
            length |= (buffer[place] & 0x7F) << shift
            shift += 7
            if buffer[place] < 0x80:
                break
        else:
            raise PacketError("The length of a packet has more than four bytes.")
        first, start, size = buffer[0], place + 1, place + 1 + length
        if size > self.limit and first >> 4 == Kind.PUBLISH:
            if len(buffer) < min(size, HEAD_BYTES_MAX):
                return None
            head = bytes(buffer[start : min(size, HEAD_BYTES_MAX)])
            self.skip = max(0, size - len(buffer))
            del buffer[:size]
            return delivery(first & 0x0F, head, kept=False)
        if size > self.limit:
            raise PacketError("A packet that is no message is too large.")
        if len(buffer) < size:
            return None
        body = bytes(buffer[start:size])
        del buffer[:size]
        return packet_of(first, body)


def packet_of(first: int, body: bytes) -> Delivery | Admitted | Subscribed | Pong:
    kind = first >> 4
    if kind == Kind.PUBLISH:
        return delivery(first & 0x0F, body)
    if kind == Kind.CONNACK and len(body) == 2:
        return Admitted(body[1], bool(body[0] & 1))
    if kind == Kind.SUBACK and len(body) > 2:
        return Subscribed(body[2:])
    if kind == Kind.PINGRESP:
        return Pong()
    raise PacketError(f"The broker has sent a packet of the type {kind} with {len(body)} bytes, which is not expected.")


def delivery(flags: int, body: bytes, *, kept: bool = True) -> Delivery:
    """A topic that is not valid is no error, because such a message could never be acknowledged."""
    qos = flags >> 1 & 3
    if qos > QOS:
        raise PacketError("The session has a subscription with QoS 2. Choose another client_id in MQTT_BROKER_URL.")
    fields = Fields(body)
    topic = fields.binary().decode("utf-8", "replace")
    packet_id = fields.two_bytes() if qos else 0
    return Delivery(topic, fields.rest() if kept else None, qos, packet_id, bool(flags & 8), bool(flags & 1))

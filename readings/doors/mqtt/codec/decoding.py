"""Decodes what a client sends."""

from enum import IntEnum

from readings.doors.mqtt.codec import properties
from readings.doors.mqtt.codec.fields import Fields
from readings.doors.mqtt.codec.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Connect,
    Disconnect,
    Ignored,
    Packet,
    PingRequest,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
)
from readings.doors.mqtt.codec.properties import Property, read_properties
from readings.doors.mqtt.codec.reasons import PacketError, Reason


class Kind(IntEnum):
    """The type of a packet: the upper four bits of its first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


# The lower four bits of the first byte [MQTT-2.2.2-1, 2.2.2-2]; those of a PUBLISH have a meaning.
FLAGS = {Kind.PUBREL: 2, Kind.SUBSCRIBE: 2, Kind.UNSUBSCRIBE: 2}
# The bit of the protocol level that Mosquitto sets when it connects as a bridge.
BRIDGE = 0x80


class PacketStream:
    """Cuts a stream of bytes into packets, of which none may be larger than `limit` bytes."""

    __slots__ = ("announced", "buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.buffer = bytearray()
        # The size of the packet at the beginning of the buffer, once its header is complete; 0 before.
        self.announced = 0

    def feed(self, chunk: bytes | memoryview) -> None:
        self.buffer += chunk

    def next(self) -> tuple[int, bytes] | None:
        """The first byte and the body of the next packet; None if it is not complete.

        Raises PacketError as soon as the header announces more than `limit` bytes.
        """
        buffer = self.buffer
        length = shift = 0
        for place in range(1, 5):
            if place >= len(buffer):
                return None
            encoded = buffer[place]
            length |= (encoded & 0x7F) << shift
            shift += 7
            if encoded < 0x80:
                break
        else:
            raise PacketError("The length of a packet has more than four bytes.")
        size = place + 1 + length
        if size > self.limit:
            raise PacketError(f"A packet may have at most {self.limit} bytes.", Reason.PACKET_TOO_LARGE)
        self.announced = size
        if len(buffer) < size:
            return None
        packet = buffer[0], bytes(buffer[place + 1 : size])
        del buffer[:size]
        self.announced = 0
        return packet


def decode(first: int, body: bytes, level: int) -> Packet:
    """The packet with this first byte. `level` is that of the connection. Raises PacketError."""
    kind, flags = first >> 4, first & 0x0F
    if kind == Kind.PUBLISH:
        return decode_publish(flags, body, level)
    if flags != FLAGS.get(kind, 0):  # type: ignore[call-overload]  # an int equals its enum
        raise PacketError("The flags of a packet are wrong.")
    if kind == Kind.PINGREQ:
        Fields(body).end()
        return PingRequest()
    if kind == Kind.CONNECT:
        return decode_connect(body)
    if kind == Kind.SUBSCRIBE:
        return decode_subscribe(Fields(body), level)
    if kind == Kind.UNSUBSCRIBE:
        return decode_unsubscribe(Fields(body), level)
    if kind == Kind.DISCONNECT:
        return decode_disconnect(Fields(body), level)
    if kind == Kind.PUBACK:
        return Ignored()
    name = Kind(kind).name if kind else "0"
    raise PacketError(f"A client must not send a packet of the type {name} here.", Reason.PROTOCOL_ERROR)


def decode_connect(body: bytes) -> Connect:
    """Raises PacketError; with UNSUPPORTED_VERSION for a level other than 3.1.1 and 5 [MQTT-3.1.2-2]."""
    fields = Fields(body)
    name = fields.binary()
    if name not in (b"MQTT", b"MQIsdp"):
        raise PacketError("The protocol's name is not MQTT.")
    level = fields.byte()
    bridge, level = bool(level & BRIDGE), level & ~BRIDGE
    if name != b"MQTT" or level not in (MQTT_3_1_1, MQTT_5):
        raise PacketError("Only MQTT 3.1.1 and 5 are supported.", Reason.UNSUPPORTED_VERSION)
    flags = fields.byte()
    has_user_name, has_password = flags & 0x80, flags & 0x40
    will_retain, will_qos, has_will = flags & 0x20, flags >> 3 & 3, flags & 0x04
    if flags & 0x01:
        raise PacketError("The reserved flag of CONNECT is set.")
    if will_qos == 3 or (not has_will and (will_qos or will_retain)):
        raise PacketError("The flags of the will contradict each other.")
    if level == MQTT_3_1_1 and has_password and not has_user_name:
        raise PacketError("There is a password without a user name.")
    keep_alive = fields.two_bytes()
    found = read_properties(fields, properties.IN_CONNECT) if level == MQTT_5 else {}
    if Property.AUTHENTICATION_DATA in found and Property.AUTHENTICATION_METHOD not in found:
        raise PacketError("There is authentication data without a method.", Reason.PROTOCOL_ERROR)
    client_id = fields.text()
    will = None
    if has_will:
        if level == MQTT_5:
            read_properties(fields, properties.IN_WILL)
        topic = topic_name(fields.text())
        will = Will(topic, fields.binary(), will_qos)
    user_name = fields.text() if has_user_name else None
    password = fields.binary() if has_password else None
    fields.end()
    return Connect(level, client_id, bool(flags & 0x02), keep_alive, will, user_name, password, found, bridge)


def decode_publish(flags: int, body: bytes, level: int) -> Publish:
    qos = flags >> 1 & 3
    if qos == 3:
        raise PacketError("A QoS of 3 does not exist.")
    if qos == 0 and flags & 0x08:
        raise PacketError("A message with QoS 0 has the flag DUP.")
    fields = Fields(body)
    topic = fields.text()
    packet_id = packet_identifier(fields) if qos else 0
    if level == MQTT_5 and Property.TOPIC_ALIAS in read_properties(fields, properties.IN_PUBLISH):
        raise PacketError("Topic aliases are not supported: Topic Alias Maximum is 0.", Reason.INVALID_TOPIC_ALIAS)
    return Publish(topic_name(topic), fields.rest(), qos, packet_id, bool(flags & 0x08), bool(flags & 0x01))


def decode_subscribe(fields: Fields, level: int) -> Subscribe:
    packet_id = packet_identifier(fields)
    if level == MQTT_5 and Property.SUBSCRIPTION_IDENTIFIER in read_properties(fields, properties.IN_SUBSCRIBE):
        raise PacketError("Subscription identifiers are not supported.", Reason.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED)
    filters = []
    while not fields.at_end():
        text, options = topic_filter(fields.text()), fields.byte()
        reserved = 0xC0 if level == MQTT_5 else 0xFC
        if options & reserved or options & 3 == 3 or options & 0x30 == 0x30:
            raise PacketError("The options of a subscription are wrong.")
        filters.append((text, options & 3))
    if not filters:
        raise PacketError("A SUBSCRIBE has no topic filter.", Reason.PROTOCOL_ERROR)
    return Subscribe(packet_id, filters)


def decode_unsubscribe(fields: Fields, level: int) -> Unsubscribe:
    packet_id = packet_identifier(fields)
    if level == MQTT_5:
        read_properties(fields, properties.IN_UNSUBSCRIBE)
    filters = []
    while not fields.at_end():
        filters.append(topic_filter(fields.text()))
    if not filters:
        raise PacketError("An UNSUBSCRIBE has no topic filter.", Reason.PROTOCOL_ERROR)
    return Unsubscribe(packet_id, filters)


def decode_disconnect(fields: Fields, level: int) -> Disconnect:
    if level != MQTT_5 or fields.at_end():
        fields.end()
        return Disconnect()
    reason = fields.byte()
    if not fields.at_end():
        read_properties(fields, properties.IN_DISCONNECT)
        fields.end()
    return Disconnect(reason)


def packet_identifier(fields: Fields) -> int:
    packet_id = fields.two_bytes()
    if packet_id == 0:
        raise PacketError("A packet identifier is 0.")
    return packet_id


def topic_name(text: str) -> str:
    """The topic of a message, not empty and without wildcards [MQTT-4.7.3-1, 3.3.2-2]. Raises PacketError."""
    if not text:
        raise PacketError("The topic of a message is empty.", Reason.INVALID_TOPIC_NAME)
    if "#" in text or "+" in text:
        raise PacketError("The topic of a message has a wildcard.", Reason.INVALID_TOPIC_NAME)
    return text


def topic_filter(text: str) -> str:
    """A topic filter with its wildcards in the right places [MQTT-4.7.1-2, 4.7.1-3]. Raises PacketError."""
    levels = text.split("/")
    wrong = any("#" in level or ("+" in level and level != "+") for level in levels[:-1])
    if not text or wrong or (len(levels[-1]) > 1 and ("#" in levels[-1] or "+" in levels[-1])):
        raise PacketError("A topic filter is not valid.", Reason.INVALID_TOPIC_FILTER)
    return text

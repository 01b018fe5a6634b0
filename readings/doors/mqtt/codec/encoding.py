"""Encodes what the server sends."""

from collections.abc import Sequence

from readings.doors.mqtt.codec.fields import TWO_BYTES, encoded_text, encoded_variable
from readings.doors.mqtt.codec.packets import MQTT_5
from readings.doors.mqtt.codec.properties import Properties, Property, encoded_properties
from readings.doors.mqtt.codec.reasons import RETURN_CODES, Reason

CONNACK, PUBLISH, PUBACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 0x20, 0x30, 0x40, 0x90, 0xB0, 0xD0, 0xE0
# The code with which a SUBACK of 3.1.1 refuses a filter.
SUBSCRIPTION_FAILED = 0x80

PING_RESPONSE = bytes((PINGRESP, 0))


def framed(first: int, body: bytes) -> bytes:
    return bytes([first]) + encoded_variable(len(body)) + body


def connack(level: int, reason: Reason, properties: Properties | None = None) -> bytes:
    """The answer to CONNECT, without a session. b"" if 3.1.1 has no return code for the reason: then just close."""
    if level == MQTT_5:
        return framed(CONNACK, bytes((0, reason)) + encoded_properties(properties or {}))
    code = RETURN_CODES.get(reason)
    return b"" if code is None else bytes((CONNACK, 2, 0, code))


def puback(level: int, packet_id: int, reason: Reason = Reason.SUCCESS, detail: str = "") -> bytes:
    """`reason` and `detail` are for MQTT 5 only: 3.1.1 can say only that the message need not come again."""
    identifier = TWO_BYTES.pack(packet_id)
    if level != MQTT_5 or (reason is Reason.SUCCESS and not detail):
        return bytes((PUBACK, 2)) + identifier
    return framed(
        PUBACK, identifier + bytes([reason]) + encoded_properties({Property.REASON_STRING: detail} if detail else {})
    )


def suback(level: int, packet_id: int, codes: Sequence[int]) -> bytes:
    properties = b"\0" if level == MQTT_5 else b""
    return framed(SUBACK, TWO_BYTES.pack(packet_id) + properties + bytes(codes))


def unsuback(level: int, packet_id: int, codes: Sequence[int]) -> bytes:
    """`codes` are for MQTT 5 only."""
    body = b"\0" + bytes(codes) if level == MQTT_5 else b""
    return framed(UNSUBACK, TWO_BYTES.pack(packet_id) + body)


def publish(level: int, topic: str, payload: bytes) -> bytes:
    """A message with QoS 0."""
    return framed(PUBLISH, encoded_text(topic) + (b"\0" if level == MQTT_5 else b"") + payload)


def disconnect(level: int, reason: Reason, detail: str = "") -> bytes:
    """b"" for 3.1.1, in which a server just closes the connection."""
    if level != MQTT_5:
        return b""
    properties = encoded_properties({Property.REASON_STRING: detail}) if detail else b""
    return framed(DISCONNECT, bytes([reason]) + properties)

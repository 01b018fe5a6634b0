"""Properties of MQTT 5 (section 2.2.2): which a packet may have, and their types."""

from collections.abc import Callable, Collection
from enum import IntEnum
from typing import Any

from readings.doors.mqtt.codec.fields import (
    FOUR_BYTES,
    TWO_BYTES,
    Fields,
    encoded_text,
    encoded_variable,
)
from readings.doors.mqtt.codec.reasons import PacketError, Reason


class Property(IntEnum):
    PAYLOAD_FORMAT = 1
    MESSAGE_EXPIRY = 2
    CONTENT_TYPE = 3
    RESPONSE_TOPIC = 8
    CORRELATION_DATA = 9
    SUBSCRIPTION_IDENTIFIER = 11
    SESSION_EXPIRY = 17
    ASSIGNED_CLIENT_ID = 18
    SERVER_KEEP_ALIVE = 19
    AUTHENTICATION_METHOD = 21
    AUTHENTICATION_DATA = 22
    REQUEST_PROBLEM_INFORMATION = 23
    WILL_DELAY = 24
    REQUEST_RESPONSE_INFORMATION = 25
    SERVER_REFERENCE = 28
    REASON_STRING = 31
    RECEIVE_MAXIMUM = 33
    TOPIC_ALIAS_MAXIMUM = 34
    TOPIC_ALIAS = 35
    MAXIMUM_QOS = 36
    USER_PROPERTY = 38
    MAXIMUM_PACKET_SIZE = 39
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 41
    SHARED_SUBSCRIPTION_AVAILABLE = 42


Properties = dict[Property, Any]


def pair(fields: Fields) -> tuple[str, str]:
    return fields.text(), fields.text()


def flag(fields: Fields) -> int:
    value = fields.byte()
    if value > 1:
        raise PacketError("A property that is 0 or 1 has another value.", Reason.PROTOCOL_ERROR)
    return value


def positive_two_bytes(fields: Fields) -> int:
    return positive(fields.two_bytes())


def positive_four_bytes(fields: Fields) -> int:
    return positive(fields.four_bytes())


def positive(value: int) -> int:
    if value == 0:
        raise PacketError("A property that must not be 0 is 0.", Reason.PROTOCOL_ERROR)
    return value


READERS: dict[Property, Callable[[Fields], Any]] = {
    Property.PAYLOAD_FORMAT: flag,
    Property.MESSAGE_EXPIRY: Fields.four_bytes,
    Property.CONTENT_TYPE: Fields.text,
    Property.RESPONSE_TOPIC: Fields.text,
    Property.CORRELATION_DATA: Fields.binary,
    Property.SUBSCRIPTION_IDENTIFIER: Fields.variable,
    Property.SESSION_EXPIRY: Fields.four_bytes,
    Property.AUTHENTICATION_METHOD: Fields.text,
    Property.AUTHENTICATION_DATA: Fields.binary,
    Property.REQUEST_PROBLEM_INFORMATION: flag,
    Property.WILL_DELAY: Fields.four_bytes,
    Property.REQUEST_RESPONSE_INFORMATION: flag,
    Property.REASON_STRING: Fields.text,
    Property.RECEIVE_MAXIMUM: positive_two_bytes,
    Property.TOPIC_ALIAS_MAXIMUM: Fields.two_bytes,
    Property.TOPIC_ALIAS: Fields.two_bytes,
    Property.USER_PROPERTY: pair,
    Property.MAXIMUM_PACKET_SIZE: positive_four_bytes,
}

PUBLISHED = frozenset(
    {
        Property.PAYLOAD_FORMAT,
        Property.MESSAGE_EXPIRY,
        Property.CONTENT_TYPE,
        Property.RESPONSE_TOPIC,
        Property.CORRELATION_DATA,
        Property.USER_PROPERTY,
    }
)
# What a client may send in each packet.
IN_WILL = PUBLISHED | {Property.WILL_DELAY}
IN_PUBLISH = PUBLISHED | {Property.TOPIC_ALIAS}
IN_CONNECT = frozenset(
    {
        Property.SESSION_EXPIRY,
        Property.RECEIVE_MAXIMUM,
        Property.MAXIMUM_PACKET_SIZE,
        Property.TOPIC_ALIAS_MAXIMUM,
        Property.REQUEST_RESPONSE_INFORMATION,
        Property.REQUEST_PROBLEM_INFORMATION,
        Property.USER_PROPERTY,
        Property.AUTHENTICATION_METHOD,
        Property.AUTHENTICATION_DATA,
    }
)
IN_SUBSCRIBE = frozenset({Property.SUBSCRIPTION_IDENTIFIER, Property.USER_PROPERTY})
IN_UNSUBSCRIBE = frozenset({Property.USER_PROPERTY})
IN_ACKNOWLEDGEMENT = frozenset({Property.REASON_STRING, Property.USER_PROPERTY})
IN_DISCONNECT = IN_ACKNOWLEDGEMENT | {Property.SESSION_EXPIRY}


def read_properties(fields: Fields, allowed: Collection[Property]) -> Properties:
    """The properties at this place. Of user properties, which may repeat, only the last is kept.

    Raises PacketError: of an unknown or repeated one, of one that this packet must not have, or of a wrong value.
    """
    length = fields.variable()
    if length == 0:
        return {}
    section = Fields(fields.take(length))
    found: Properties = {}
    while not section.at_end():
        identifier = section.variable()
        if identifier not in allowed:
            raise PacketError(f"The packet must not have the property {identifier}.", Reason.PROTOCOL_ERROR)
        name = Property(identifier)
        if name in found and name is not Property.USER_PROPERTY:
            raise PacketError(f"The property {identifier} is repeated.", Reason.PROTOCOL_ERROR)
        found[name] = READERS[name](section)
    return found


def encoded_byte(value: int) -> bytes:
    return bytes([value])


WRITERS: dict[Property, Callable[[Any], bytes]] = {
    Property.SESSION_EXPIRY: FOUR_BYTES.pack,
    Property.ASSIGNED_CLIENT_ID: encoded_text,
    Property.SERVER_KEEP_ALIVE: TWO_BYTES.pack,
    Property.REASON_STRING: encoded_text,
    Property.RECEIVE_MAXIMUM: TWO_BYTES.pack,
    Property.MAXIMUM_QOS: encoded_byte,
    Property.MAXIMUM_PACKET_SIZE: FOUR_BYTES.pack,
    Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: encoded_byte,
    Property.SHARED_SUBSCRIPTION_AVAILABLE: encoded_byte,
}


def encoded_properties(properties: Properties) -> bytes:
    section = b"".join(bytes([name]) + WRITERS[name](value) for name, value in properties.items())
    return encoded_variable(len(section)) + section

"""Numbered statements of MQTT 3.1.1 and 5 about the packets that a client sends."""

import pytest

from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.decoding import PacketStream, decode
from readings.doors.mqtt.codec.fields import Fields, encoded_variable
from readings.doors.mqtt.codec.packets import Connect, Disconnect, PingRequest, Publish, Subscribe, Unsubscribe, Will
from readings.doors.mqtt.codec.reasons import PacketError, Reason

pytestmark = pytest.mark.once

MALFORMED, PROTOCOL = Reason.MALFORMED_PACKET, Reason.PROTOCOL_ERROR
BAD_TOPIC = Reason.INVALID_TOPIC_NAME


def connect(level=4, flags=2, rest=b"\0\1a", properties=b"", name=b"\0\4MQTT"):
    return name + bytes([level, flags, 0, 60]) + (b"\0" if level & 127 == 5 and not properties else properties) + rest


LONGEST_ID = b"0123456789abcXYZ0123456"  # the 23 characters that a server must allow

ACCEPTED = [
    ("MQTT-1.5.3-3, a byte order mark stays", 0x30, b"\0\4\xef\xbb\xbft", 4, Publish("\ufefft", b"")),
    ("MQTT-2.3.1-5, QoS 0 has no packet identifier", 0x30, b"\0\1t\0\7", 4, Publish("t", b"\0\7")),
    ("MQTT-3.1.3-5", 0x10, connect(rest=b"\0\x17" + LONGEST_ID), 4, Connect(4, LONGEST_ID.decode(), True, 60)),
    ("MQTT-3.1.3-6, no client id", 0x10, connect(rest=b"\0\0"), 4, Connect(4, "", True, 60)),
    ("MQTT-3.3.1-2 for QoS 1, first delivery", 0x32, b"\0\1t\0\7x", 4, Publish("t", b"x", 1, 7)),
    ("MQTT-3.3.1-4, QoS 2 is valid and refused later", 0x34, b"\0\1t\0\7x", 4, Publish("t", b"x", 2, 7)),
    ("MQTT-3.8.3-3, several filters in order", 0x82, b"\0\1\0\1b\0\0\1a\2", 4, Subscribe(1, [("b", 0), ("a", 2)])),
    ("4.7.1.3, levels may be empty", 0x82, b"\0\1\0\3/+/\0", 4, Subscribe(1, [("/+/", 0)])),
    ("5: 3.8.3.1, options", 0x82, b"\0\1\0\0\1a\x2d", 5, Subscribe(1, [("a", 1)])),
    ("CONNECT", 0x10, connect(), 4, Connect(4, "a", True, 60)),
    ("CONNECT of a Mosquitto bridge", 0x10, connect(0x84), 4, Connect(4, "a", True, 60, bridge=True)),
    (
        "CONNECT with a will, user name and password",
        0x10,
        connect(4, 0xCE, b"\0\1a\0\1t\0\1w\0\1u\0\1p"),
        4,
        Connect(4, "a", True, 60, Will("t", b"w", 1), "u", b"p"),
    ),
    (
        "5: a password without a user name",
        0x10,
        connect(5, 0x42, b"\0\1a\0\1p"),
        5,
        Connect(5, "a", True, 60, password=b"p"),
    ),
    ("PUBLISH with QoS 0", 0x31, b"\0\1tx", 4, Publish("t", b"x", retain=True)),
    ("PUBLISH with QoS 1, sent again", 0x3A, b"\0\1t\0\7x", 4, Publish("t", b"x", 1, 7, dup=True)),
    ("PUBLISH without a payload", 0x30, b"\0\1t", 4, Publish("t", b"")),
    ("5: PUBLISH with properties", 0x32, b"\0\1t\0\7\2\1\1x", 5, Publish("t", b"x", 1, 7)),
    ("SUBSCRIBE", 0x82, b"\0\1\0\3a/#\1\0\1+\0", 4, Subscribe(1, [("a/#", 1), ("+", 0)])),
    ("UNSUBSCRIBE", 0xA2, b"\0\1\0\1a", 4, Unsubscribe(1, ["a"])),
    ("PINGREQ", 0xC0, b"", 4, PingRequest()),
    ("DISCONNECT", 0xE0, b"", 4, Disconnect()),
    ("5: DISCONNECT with the will", 0xE0, b"\4", 5, Disconnect(4)),
]

REFUSED = [
    ("MQTT-1.5.3-1", 0x30, b"\0\2\xc3\x28", 4, MALFORMED),
    ("MQTT-1.5.3-1, surrogates", 0x30, b"\0\3\xed\xa0\x80", 4, MALFORMED),
    ("MQTT-1.5.3-2, NUL", 0x30, b"\0\2a\0", 4, MALFORMED),
    ("MQTT-2.2.2-2, flags of SUBSCRIBE", 0x80, b"\0\1\0\1a\0", 4, MALFORMED),
    ("MQTT-2.2.2-2, flags of PINGREQ", 0xC1, b"", 4, MALFORMED),
    ("MQTT-3.6.1-1, flags of PUBREL", 0x60, b"\0\1", 4, MALFORMED),
    ("MQTT-3.10.1-1, flags of UNSUBSCRIBE", 0xA0, b"\0\1\0\1a", 4, MALFORMED),
    ("MQTT-3.14.1-1, flags of DISCONNECT", 0xE1, b"", 4, MALFORMED),
    ("MQTT-2.3.1-1, SUBSCRIBE", 0x82, b"\0\0\0\1a\0", 4, MALFORMED),
    ("MQTT-2.3.1-1, UNSUBSCRIBE", 0xA2, b"\0\0\0\1a", 4, MALFORMED),
    ("MQTT-2.3.1-1", 0x32, b"\0\1t\0\0x", 4, MALFORMED),
    ("MQTT-3.1.2-1", 0x10, connect(name=b"\0\4HTTP"), 4, MALFORMED),
    ("MQTT-3.1.2-2", 0x10, connect(6), 4, Reason.UNSUPPORTED_VERSION),
    ("MQTT-3.1.2-2, MQTT 3.1", 0x10, connect(3, name=b"\0\6MQIsdp"), 4, Reason.UNSUPPORTED_VERSION),
    ("MQTT-3.1.2-3", 0x10, connect(flags=3), 4, MALFORMED),
    ("MQTT-3.1.2-13", 0x10, connect(flags=0x0A), 4, MALFORMED),
    ("MQTT-3.1.2-14", 0x10, connect(flags=0x1E, rest=b"\0\1a\0\1t\0\1w"), 4, MALFORMED),
    ("MQTT-3.1.2-15", 0x10, connect(flags=0x22), 4, MALFORMED),
    ("MQTT-3.1.2-22", 0x10, connect(flags=0x42, rest=b"\0\1a\0\1p"), 4, MALFORMED),
    ("MQTT-3.1.2-18, a user name without its flag", 0x10, connect(rest=b"\0\1a\0\1u"), 4, MALFORMED),
    ("MQTT-3.1.2-19, the flag without a user name", 0x10, connect(flags=0x82), 4, MALFORMED),
    ("MQTT-3.1.2-21, the flag without a password", 0x10, connect(flags=0xC2, rest=b"\0\1a\0\1u"), 4, MALFORMED),
    ("MQTT-3.1.2-9, the flag without a will", 0x10, connect(flags=0x06), 4, MALFORMED),
    ("MQTT-3.1.3-4", 0x10, connect(rest=b"\0\1\xff"), 4, MALFORMED),
    ("MQTT-3.1.3-10, the topic of the will", 0x10, connect(flags=6, rest=b"\0\1a\0\1\xff\0\0"), 4, MALFORMED),
    ("MQTT-3.1.3-11, the user name", 0x10, connect(flags=0x82, rest=b"\0\1a\0\1\xff"), 4, MALFORMED),
    ("3.1.2.5, the topic of the will has a wildcard", 0x10, connect(flags=6, rest=b"\0\1a\0\1#\0\0"), 4, BAD_TOPIC),
    ("MQTT-3.1.3-3, no client id", 0x10, connect(rest=b""), 4, MALFORMED),
    ("3.1.3, more than its fields", 0x10, connect(rest=b"\0\1a!"), 4, MALFORMED),
    ("5: MQTT-3.1.2-11, an unknown property", 0x10, connect(5, properties=b"\2\x7f\0"), 4, PROTOCOL),
    ("5: 3.1.2.11.3, Receive Maximum 0", 0x10, connect(5, properties=b"\3\x21\0\0"), 4, PROTOCOL),
    ("5: 3.1.2.11.4, a property twice", 0x10, connect(5, properties=b"\x0a" + b"\x11\0\0\0\1" * 2), 4, PROTOCOL),
    ("MQTT-3.3.1-2", 0x38, b"\0\1tx", 4, MALFORMED),
    ("MQTT-3.3.1-4", 0x36, b"\0\1t\0\7x", 4, MALFORMED),
    ("MQTT-3.3.2-2, #", 0x30, b"\0\3a/#", 4, Reason.INVALID_TOPIC_NAME),
    ("MQTT-3.3.2-2, +", 0x30, b"\0\1+", 4, Reason.INVALID_TOPIC_NAME),
    ("MQTT-4.7.3-1", 0x30, b"\0\0x", 4, Reason.INVALID_TOPIC_NAME),
    ("5: MQTT-3.3.2-9, an alias", 0x30, b"\0\0\3\x23\0\1x", 5, Reason.INVALID_TOPIC_ALIAS),
    ("5: MQTT-3.3.4-6", 0x30, b"\0\1t\2\x0b\1x", 5, PROTOCOL),
    ("MQTT-3.8.3-1", 0x82, b"\0\1\0\1\xff\0", 4, MALFORMED),
    ("MQTT-3.10.3-1", 0xA2, b"\0\1\0\1\xff", 4, MALFORMED),
    ("MQTT-4.7.3-2, NUL in a filter", 0x82, b"\0\1\0\1\0\0", 4, MALFORMED),
    ("MQTT-4.7.3-1, an empty filter", 0x82, b"\0\1\0\0\0", 4, Reason.INVALID_TOPIC_FILTER),
    ("MQTT-4.7.1-2, # after a letter", 0x82, b"\0\1\0\2a#\0", 4, Reason.INVALID_TOPIC_FILTER),
    ("5: MQTT-3.8.3-5, reserved bits", 0x82, b"\0\1\0\0\1a\x40", 5, MALFORMED),
    ("MQTT-3.8.3-3", 0x82, b"\0\1", 4, PROTOCOL),
    ("MQTT-3.8.3-4", 0x82, b"\0\1\0\1a\3", 4, MALFORMED),
    ("MQTT-3.8.3-4, reserved bits", 0x82, b"\0\1\0\1a\x04", 4, MALFORMED),
    ("MQTT-4.7.1-2", 0x82, b"\0\1\0\3#/a\0", 4, Reason.INVALID_TOPIC_FILTER),
    ("MQTT-4.7.1-3", 0x82, b"\0\1\0\2a+\0", 4, Reason.INVALID_TOPIC_FILTER),
    ("MQTT-3.10.3-2", 0xA2, b"\0\1", 4, PROTOCOL),
    ("a packet of a server", 0x20, b"\0\0", 4, PROTOCOL),
    ("the reserved type 0", 0x00, b"", 4, PROTOCOL),
    ("a field that is not complete", 0x30, b"\0\5a", 4, MALFORMED),
]


@pytest.mark.parametrize(
    ("first", "body", "level", "packet"), [row[1:] for row in ACCEPTED], ids=[r[0] for r in ACCEPTED]
)
def test_a_valid_packet_is_decoded(first, body, level, packet):
    assert decode(first, body, level) == packet


@pytest.mark.parametrize(
    ("first", "body", "level", "reason"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_a_packet_against_the_specification_is_refused(first, body, level, reason):
    with pytest.raises(PacketError) as refused:
        decode(first, body, level)
    assert refused.value.reason is reason


@pytest.mark.parametrize(("value", "encoded"), [(0, b"\0"), (127, b"\x7f"), (128, b"\x80\1"), (16_384, b"\x80\x80\1")])
def test_variable_byte_integers_are_those_of_table_2_4(value, encoded):
    assert encoded_variable(value) == encoded
    assert Fields(encoded).variable() == value


def test_packets_may_arrive_byte_by_byte():
    stream, found = PacketStream(100), []
    for byte in bytes.fromhex("c000") + b"\x30\x04\0\1tx":
        stream.feed(bytes([byte]))
        while packet := stream.next():
            found.append(packet)
    assert found == [(0xC0, b""), (0x30, b"\0\1tx")]


def test_a_packet_of_256_mb_is_refused_by_its_header():
    stream = PacketStream(100)
    stream.feed(b"\x30\xff\xff\xff\x7f")
    with pytest.raises(PacketError) as refused:
        stream.next()
    assert refused.value.reason is Reason.PACKET_TOO_LARGE


def test_a_length_of_five_bytes_is_malformed():
    stream = PacketStream(100)
    stream.feed(b"\x30\xff\xff\xff\xff\1")
    with pytest.raises(PacketError):
        stream.next()


def test_answers_are_encoded_for_the_version_of_the_client():
    assert encoding.connack(4, Reason.BAD_CREDENTIALS) == b"\x20\2\0\4"
    assert encoding.connack(5, Reason.BAD_CREDENTIALS) == b"\x20\3\0\x86\0"
    assert encoding.puback(4, 7, Reason.INVALID_PAYLOAD, "why") == b"\x40\2\0\7"
    assert encoding.puback(5, 7, Reason.INVALID_PAYLOAD, "why") == b"\x40\x0a\0\7\x99\6\x1f\0\3why"
    assert encoding.suback(4, 1, [0, 0x80]) == b"\x90\4\0\1\0\x80"
    assert encoding.unsuback(4, 1, [0]) == b"\xb0\2\0\1"
    assert encoding.disconnect(4, Reason.SERVER_SHUTTING_DOWN) == b""
    assert encoding.disconnect(5, Reason.SERVER_SHUTTING_DOWN) == b"\xe0\1\x8b"

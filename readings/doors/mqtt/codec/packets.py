"""The packets that a client sends, decoded."""

import msgspec

from readings.doors.mqtt.codec.properties import Properties
from readings.doors.mqtt.codec.reasons import Reason

# Protocol levels.
MQTT_3_1_1 = 4
MQTT_5 = 5


class Will(msgspec.Struct, frozen=True):
    topic: str
    payload: bytes
    qos: int


class Connect(msgspec.Struct, frozen=True):
    """`keep_alive`: seconds; 0: none. `bridge`: the sender is a bridge of another broker (bit 7 of the level)."""

    level: int
    client_id: str
    clean: bool
    keep_alive: int
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None
    properties: Properties = {}
    bridge: bool = False


class Publish(msgspec.Struct, frozen=True):
    """`packet_id` is 0 with QoS 0."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    dup: bool = False
    retain: bool = False


class Subscribe(msgspec.Struct, frozen=True):
    """`filters`: each topic filter and the QoS that is asked for."""

    packet_id: int
    filters: list[tuple[str, int]]


class Unsubscribe(msgspec.Struct, frozen=True):
    packet_id: int
    filters: list[str]


class PingRequest(msgspec.Struct, frozen=True):
    pass


class Disconnect(msgspec.Struct, frozen=True):
    reason: int = Reason.SUCCESS


class Ignored(msgspec.Struct, frozen=True):
    """A PUBACK, which answers nothing that we send."""


Packet = Publish | PingRequest | Subscribe | Unsubscribe | Disconnect | Ignored | Connect

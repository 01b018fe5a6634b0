"""What a topic means. A topic is data of the client, so that nothing is looked up in the database here.

| topic | meaning |
| --- | --- |
| `telemetry/<device_id>/readings` | JSON: one reading or an array |
| `telemetry/<device_id>/<metric>` | one value |
| `telemetry/<device_id>/status` | `online` or `offline` |
| `telemetry/<device_id>/<component>/<name>/state` | one value (ESPHome with `topic_prefix: telemetry/<device_id>`) |
| `v1/devices/me/telemetry` | as `readings`, of the key's device (ThingsBoard) |
| `tele/<device_id>/SENSOR`, `…/STATE` | as `readings` (Tasmota) |
| `tele/<device_id>/LWT` | as `status` (Tasmota) |
| `stat/<device_id>/POWER`, `…/POWER2` | one value: a switch, when it changes (Tasmota) |
"""

import re
from enum import Enum
from functools import lru_cache

import msgspec

PREFIX = "telemetry"
# Tasmota's name of a switch. Its metric is `switch`, because `power` is in watts.
SWITCH = re.compile(r"POWER([0-9]{0,2})")
# A longer topic has no meaning here.
TOPIC_CHARACTERS = 256
# Published by Tasmota, ESPHome, ThingsBoard's clients and Mosquitto's bridge; nothing of it is a reading.
IGNORED = ("$SYS/", "homeassistant/", "tasmota/discovery/", "tele/", "stat/", "v1/devices/me/", "esphome/discover/")


class Meaning(Enum):
    READINGS = "readings"
    VALUE = "value"
    STATUS = "status"
    NOTHING = "nothing"


class Topic(msgspec.Struct, frozen=True):
    """`device_id`: the device in the topic, not checked; None: the topic names none. `metric`: of a VALUE.

    `named`: whether a device's key may write to it only if the topic names its device. Tasmota chooses the name in its
    topics itself, so there the key alone decides; a gateway's key has nothing but the topic.
    """

    meaning: Meaning
    device_id: str | None = None
    metric: str = ""
    named: bool = True
    tasmota: bool = False


NOTHING = Topic(Meaning.NOTHING)


@lru_cache(4096)
def meaning_of(topic: str) -> Topic | None:
    """None if the topic has no meaning, so that a message to it is refused."""
    if len(topic) > TOPIC_CHARACTERS:
        return None
    levels = topic.split("/")
    match levels:
        case ["telemetry", device_id, "readings"]:
            return Topic(Meaning.READINGS, device_id)
        case ["telemetry", device_id, "status"]:
            return Topic(Meaning.STATUS, device_id)
        case ["telemetry", _, "debug"]:  # ESPHome's log
            return NOTHING
        case ["telemetry", _, "refused"]:  # only the server sends there
            return None
        case ["telemetry", device_id, metric] if metric:
            return Topic(Meaning.VALUE, device_id, metric)
        case ["telemetry", device_id, component, name, "state"] if component and name:
            return Topic(Meaning.VALUE, device_id, name)
        case ["v1", "devices", "me", "telemetry"]:
            return Topic(Meaning.READINGS)
        case ["tele", device_id, "SENSOR" | "STATE"]:
            return Topic(Meaning.READINGS, device_id, named=False, tasmota=True)
        case ["tele", device_id, "LWT"]:
            return Topic(Meaning.STATUS, device_id, named=False, tasmota=True)
        case ["stat", device_id, name] if SWITCH.fullmatch(name):
            return Topic(Meaning.VALUE, device_id, SWITCH.sub(r"switch\1", name), named=False, tasmota=True)
    return NOTHING if topic.startswith(IGNORED) else None


def refused_topic(device_id: str) -> str:
    """The topic on which a device that subscribes to it hears why a message of its was refused."""
    return f"{PREFIX}/{device_id}/refused"


def is_own_filter(text: str, own: str | None) -> bool:
    """Whether a client may subscribe to this filter. `own`: its device; None: a gateway.

    A client may subscribe to its own topics and to those on which such devices wait for commands. Of these only
    `refused_topic` is ever sent.
    """
    levels = text.split("/")
    if levels[0] == PREFIX and len(levels) > 1:
        return own is None or levels[1] == own
    return text.startswith(("v1/devices/me/", "cmnd/"))


def matches(text: str, topic: str) -> bool:
    """Whether a valid topic filter matches a topic (3.1.1, section 4.7). Wildcards match no `$…` [MQTT-4.7.2-1]."""
    if topic.startswith("$") and text[:1] in ("#", "+"):
        return False
    wanted, levels = text.split("/"), topic.split("/")
    for place, level in enumerate(wanted):
        if level == "#":
            return True
        if place >= len(levels) or level not in ("+", levels[place]):
            return False
    return len(wanted) == len(levels)

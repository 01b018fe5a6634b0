"""The setting MQTT_BROKER_TOPICS: topics of the broker, and where in them the device and the metric are.

| pattern | a message is |
| --- | --- |
| `sensors/{device}/{metric}` | one value |
| `zigbee2mqtt/{device}` | a JSON object of values, or an array |
| `zigbee2mqtt/{device}/availability`, `…/status`, `…/LWT` | `online` or `offline` |
| `plant/+/readings` | JSON, in which each reading names its `device_id` |
| `telemetry/#`, `tele/#`, `stat/+/+` | what `readings.doors.mqtt.topics` says |
"""

from collections.abc import Sequence

import msgspec

from readings.doors.mqtt.topics import NOTHING, TOPIC_CHARACTERS, Meaning, Topic, matches, meaning_of

DEVICE, METRIC = "{device}", "{metric}"
STATUS_LEVELS = ("status", "availability", "LWT")
PATTERNS_MAX = 50
# Patterns whose messages have the listener's topics.
OWN = ("telemetry", "tele", "stat")


class InvalidPattern(Exception):
    """The message says what is wrong."""


class Pattern(msgspec.Struct, frozen=True):
    """`filter` is what the broker is asked for."""

    text: str
    filter: str
    levels: tuple[str, ...]

    def meaning(self, topic: str) -> Topic | None:
        """What a message to this topic is; None if the topic does not match."""
        if not matches(self.filter, topic):
            return None
        if self.levels[0] in OWN and DEVICE not in self.levels:
            return meaning_of(topic) or NOTHING
        found = dict(zip(self.levels, topic.split("/"), strict=False))
        device_id = found.get(DEVICE)
        if METRIC in found:
            return Topic(Meaning.VALUE, device_id, found[METRIC])
        if self.levels[-1] in STATUS_LEVELS:
            return Topic(Meaning.STATUS, device_id)
        return Topic(Meaning.READINGS, device_id, tasmota=self.levels[-1] in ("SENSOR", "STATE"))


def pattern_of(text: str) -> Pattern:
    """Raises InvalidPattern."""
    levels = text.split("/")
    if not text or len(text) > TOPIC_CHARACTERS or "\0" in text:
        raise InvalidPattern(f"A topic has 1 to {TOPIC_CHARACTERS} characters.")
    for place, level in enumerate(levels):
        if level in (DEVICE, METRIC, "+"):
            continue
        if level == "#" and place == len(levels) - 1:
            continue
        if any(character in level for character in "#+{}"):
            raise InvalidPattern("+, {device} and {metric} must be a whole level between slashes, # the last one.")
    for name in (DEVICE, METRIC):
        if levels.count(name) > 1:
            raise InvalidPattern(f"{name} occurs twice.")
    if levels[-1] in STATUS_LEVELS and DEVICE not in levels and levels[0] not in OWN:
        raise InvalidPattern("A status needs {device} in its topic.")
    wanted = "/".join("+" if level in (DEVICE, METRIC) else level for level in levels)
    return Pattern(text, wanted, tuple(levels))


def patterns_of(texts: Sequence[str]) -> list[Pattern]:
    """Raises InvalidPattern, whose message names the pattern."""
    if not 0 < len(texts) <= PATTERNS_MAX:
        raise InvalidPattern(f"1 to {PATTERNS_MAX} topics are possible, not {len(texts)}.")
    found = []
    for text in texts:
        try:
            found.append(pattern_of(text))
        except InvalidPattern as error:
            raise InvalidPattern(f"{text!r}: {error}") from error
    return found


def meaning_in(patterns: Sequence[Pattern], topic: str) -> Topic:
    """The meaning by the first pattern that matches.

    NOTHING if none does: then it is of an earlier setting, because the broker keeps subscriptions with the session.
    """
    if len(topic) <= TOPIC_CHARACTERS:
        for pattern in patterns:
            if (meaning := pattern.meaning(topic)) is not None:
                return meaning
    return NOTHING

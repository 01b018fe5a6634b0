"""What a client subscribes to. Of all topics, only `topics.refused_topic` is ever sent."""

from typing import TYPE_CHECKING

import msgspec

from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.packets import MQTT_5, Subscribe, Unsubscribe
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.storing import Message, Outcome
from readings.doors.mqtt.topics import is_own_filter, matches, refused_topic

if TYPE_CHECKING:
    from readings.doors.mqtt.connection import Connection

# Subscriptions of one connection.
FILTERS_MAX = 50


class Subscriptions:
    """The topic filters of one connection. `own`: the device of its key; None: a gateway."""

    __slots__ = ("filters", "level", "own")

    def __init__(self, own: str | None, level: int) -> None:
        self.own, self.level = own, level
        self.filters: set[str] = set()

    def subscribe(self, packet: Subscribe) -> bytes:
        """Adds the filters; returns SUBACK."""
        return encoding.suback(self.level, packet.packet_id, [self.added(text) for text, _ in packet.filters])

    def unsubscribe(self, packet: Unsubscribe) -> bytes:
        """Removes the filters; returns UNSUBACK."""
        codes = [Reason.SUCCESS if text in self.filters else Reason.NO_SUBSCRIPTION_EXISTED for text in packet.filters]
        self.filters.difference_update(packet.filters)
        return encoding.unsuback(self.level, packet.packet_id, codes)

    def added(self, text: str) -> int:
        """The code of SUBACK: 0 for a granted QoS of 0, or a refusal."""
        if text.startswith("$share/"):
            return self.refused(Reason.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED)
        if not is_own_filter(text, self.own):
            return self.refused(Reason.NOT_AUTHORIZED)
        if len(self.filters) >= FILTERS_MAX and text not in self.filters:
            return self.refused(Reason.QUOTA_EXCEEDED)
        self.filters.add(text)
        return 0

    def refused(self, reason: Reason) -> int:
        return reason if self.level == MQTT_5 else encoding.SUBSCRIPTION_FAILED

    def match(self, topic: str) -> bool:
        return any(matches(text, topic) for text in self.filters)


def tell_refused(connection: "Connection", message: Message, outcome: Outcome) -> None:
    """Sends why a message was refused, if the client has subscribed to that."""
    assert outcome.refused is not None
    device_id, refusal = outcome.refused
    topic = refused_topic(device_id or (connection.identity.own if connection.identity else "") or "unknown")
    if (
        connection.subscriptions is None
        or not connection.subscriptions.match(topic)
        or connection.unread_since is not None
    ):
        return
    document = msgspec.json.encode({"topic": message.name, **msgspec.structs.asdict(refusal)})
    packet = encoding.publish(connection.level, topic, document)
    if not connection.packet_max or len(packet) <= connection.packet_max:  # [MQTT-3.1.2-24] of MQTT 5
        connection.write(packet)

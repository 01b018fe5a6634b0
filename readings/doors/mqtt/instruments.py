"""Prometheus metrics of the MQTT listener and subscriber of this process."""

from functools import cache

from prometheus_client import Counter, Gauge

from readings.doors.switches import Door
from readings.instruments import DOOR_READINGS

CONNECTIONS = Gauge("telemetry_mqtt_connections", "MQTT connections that are open and authenticated.")
MESSAGES = Counter(
    "telemetry_mqtt_messages_total",
    "MQTT messages that were finished, by what became of them: stored, refused, status, ignored, given_up.",
    ["outcome"],
)
REFUSED_CONNECTIONS = Counter(
    "telemetry_mqtt_refused_connections_total", "MQTT connections that were refused, by reason.", ["reason"]
)
DROPPED_CONNECTIONS = Counter(
    "telemetry_mqtt_dropped_connections_total", "MQTT connections that the server ended, by reason.", ["reason"]
)
RETRIES = Counter(
    "telemetry_mqtt_retries_total",
    "Attempts to store MQTT messages that failed for now (overload, database away). They are tried again.",
)
WAITING_BYTES = Gauge("telemetry_mqtt_waiting_bytes", "Bytes of MQTT messages that are not stored yet.")
SUBSCRIBED = Gauge("telemetry_mqtt_broker_subscribed", "1 while this process is subscribed to MQTT_BROKER_URL.")
BROKER_FAILURES = Counter(
    "telemetry_mqtt_broker_failures_total", "Connections to MQTT_BROKER_URL that failed or ended. They are tried again."
)


@cache
def messages(outcome: str) -> Counter:
    """MESSAGES with this outcome; kept, because `labels` takes longer than counting."""
    return MESSAGES.labels(outcome)


@cache
def readings(outcome: str) -> Counter:
    """The readings of this door with this outcome."""
    return DOOR_READINGS.labels(Door.MQTT.value, outcome)

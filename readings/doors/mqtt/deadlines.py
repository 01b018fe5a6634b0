"""Ends connections that miss a deadline: for CONNECT, for a packet, of the keep-alive, for reading what is sent."""

from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.connection import Connection, Phase
from readings.doors.mqtt.messages import GONE_SECONDS

# Seconds from accept() to a complete CONNECT, and for a packet besides one second for each KiB.
CONNECT_SECONDS = 10.0
PACKET_SECONDS = 10.0
PACKET_BYTES_PER_SECOND = 1024
# A client may be silent for 1.5 times its keep-alive [MQTT-3.1.2-24].
KEEP_ALIVE_FACTOR = 1.5
# A client that does not read what is sent is disconnected after this time.
UNREAD_SECONDS = 30.0


def check(connection: Connection, now: float) -> None:
    """Ends the connection if it missed a deadline. `now`: of `time.monotonic`."""
    if connection.phase is Phase.CLOSED:
        if now - connection.since > GONE_SECONDS:
            connection.transport.abort()
    elif connection.unread_since is not None and now - connection.unread_since > UNREAD_SECONDS:
        connection.drop("unread")
    elif connection.phase is Phase.OPENED:
        if now - connection.since > CONNECT_SECONDS:
            connection.drop("connect")
    elif connection.paused:
        connection.heard_at = now
        connection.packet_since = connection.packet_since and now
    elif connection.packet_since is not None and now - connection.packet_since > packet_seconds(connection):
        connection.drop("packet", Reason.MALFORMED_PACKET, "A packet did not arrive completely.")
    elif connection.keep_alive and now - connection.heard_at > connection.keep_alive * KEEP_ALIVE_FACTOR:
        connection.drop("keep_alive", Reason.KEEP_ALIVE_TIMEOUT, "Nothing arrived within 1.5 times the keep-alive.")


def packet_seconds(connection: Connection) -> float:
    return PACKET_SECONDS + connection.stream.announced / PACKET_BYTES_PER_SECOND

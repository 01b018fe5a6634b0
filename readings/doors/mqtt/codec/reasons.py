"""Return codes of 3.1.1 (section 3.2.2.3) and reason codes of 5 (section 2.4), and the error of a packet."""

from enum import IntEnum


class Reason(IntEnum):
    """Reason codes of MQTT 5 that we send or receive."""

    SUCCESS = 0x00
    DISCONNECT_WITH_WILL = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    INVALID_CLIENT_ID = 0x85
    BAD_CREDENTIALS = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    INVALID_TOPIC_FILTER = 0x8F
    INVALID_TOPIC_NAME = 0x90
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    INVALID_TOPIC_ALIAS = 0x94
    PACKET_TOO_LARGE = 0x95
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    INVALID_PAYLOAD = 0x99
    QOS_NOT_SUPPORTED = 0x9B
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1


# The return code of a CONNACK of 3.1.1 for each reason that refuses a connection. Without one the connection is closed.
RETURN_CODES = {
    Reason.SUCCESS: 0,
    Reason.UNSUPPORTED_VERSION: 1,
    Reason.INVALID_CLIENT_ID: 2,
    Reason.SERVER_UNAVAILABLE: 3,
    Reason.BAD_CREDENTIALS: 4,
    Reason.NOT_AUTHORIZED: 5,
}


class PacketError(Exception):
    """A packet that ends the connection; `reason` tells a client of MQTT 5 why."""

    def __init__(self, detail: str, reason: Reason = Reason.MALFORMED_PACKET) -> None:
        super().__init__(detail)
        self.reason = reason

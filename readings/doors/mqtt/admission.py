"""Decides about CONNECT: who the client is, and what CONNACK tells it."""

import logging
from typing import TYPE_CHECKING
from uuid import uuid4

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from readings.doors.mqtt import instruments
from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.packets import MQTT_3_1_1, MQTT_5, Connect
from readings.doors.mqtt.codec.properties import Properties, Property
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.credentials import Identity, NotAdmitted, identify
from readings.doors.mqtt.messages import MESSAGES_MAX
from readings.ingest.refused_posts import refused_post

if TYPE_CHECKING:
    from readings.doors.mqtt.clients import Clients
    from readings.doors.mqtt.connection import Connection

logger = logging.getLogger(__name__)

# Bytes of one packet, header included, after CONNECT was accepted.
PACKET_BYTES_MAX = 256 * 1024


async def admit(connection: "Connection", connect: Connect) -> None:
    """Answers CONNECT. Afterwards the connection is welcomed or finished."""
    connection.level = connect.level
    clients = connection.clients
    try:
        identity = await identified(connect, clients)
    except NotAdmitted as error:
        await note(connection, error)
        refuse(connection, error.reason, error.code)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("MQTT: a key cannot be looked up: %s", str(error).strip())
        refuse(connection, Reason.SERVER_UNAVAILABLE, "database")
    except Exception:
        logger.exception("MQTT: a connection could not be admitted")
        refuse(connection, Reason.UNSPECIFIED_ERROR, "server_error")
    else:
        client_id = connect.client_id or uuid4().hex
        connection.welcome(connect, identity, client_id, properties_of(connect, client_id))


async def identified(connect: Connect, clients: "Clients") -> Identity:
    """Raises NotAdmitted, and DatabaseError if the key cannot be looked up."""
    if Property.AUTHENTICATION_METHOD in connect.properties:
        detail = "Use a user name and a password."
        raise NotAdmitted(Reason.BAD_AUTHENTICATION_METHOD, "not_authenticated", detail)
    if connect.will is not None and connect.will.qos == 2 and connect.level == MQTT_5:
        raise NotAdmitted(Reason.QOS_NOT_SUPPORTED, "qos_not_supported", "QoS 2 is not supported.", status=400)
    if not connect.client_id and not connect.clean and connect.level == MQTT_3_1_1:  # [MQTT-3.1.3-8]
        detail = "Without a client id Clean Session must be 1."
        raise NotAdmitted(Reason.INVALID_CLIENT_ID, "invalid_client_id", detail, status=400)
    identity = await identify(connect, clients.way)
    if clients.is_full(identity):
        detail = "This key has too many connections."
        raise NotAdmitted(Reason.QUOTA_EXCEEDED, "too_many_connections", detail, status=503)
    return identity


def properties_of(connect: Connect, client_id: str) -> Properties:
    """The properties of a CONNACK that admits the client."""
    if connect.level != MQTT_5:
        return {}
    properties: Properties = {
        Property.SESSION_EXPIRY: 0,
        Property.RECEIVE_MAXIMUM: MESSAGES_MAX,
        Property.MAXIMUM_QOS: 1,
        Property.MAXIMUM_PACKET_SIZE: PACKET_BYTES_MAX,
        Property.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0,
        Property.SHARED_SUBSCRIPTION_AVAILABLE: 0,
    }
    if not connect.client_id:
        properties[Property.ASSIGNED_CLIENT_ID] = client_id
    return properties


async def note(connection: "Connection", error: NotAdmitted) -> None:
    """Notes the refusal, for the device's page."""
    own = error.caller.device.device_id if error.caller and error.caller.device else ""
    refusal = refused_post(
        caller=error.caller.role.value if error.caller else "nobody",
        unknown_key=error.key or None,
        device_id=own,
        address=connection.address,
        status=error.status,
        code=error.code,
        detail=f"MQTT: {error.detail}",
    )
    await connection.clients.way.note(refusal, now=timezone.now())


def refuse(connection: "Connection", reason: Reason, label: str) -> None:
    instruments.REFUSED_CONNECTIONS.labels(label).inc()
    connection.write(encoding.connack(connection.level, reason))
    connection.finish()

"""MQTT in the event loop of the process: listens on MQTT_PORT and MQTT_TLS_PORT, and subscribes to MQTT_BROKER_URL."""

import asyncio
import logging
import ssl
from collections.abc import Callable

from django.conf import settings

from readings.doors.mqtt.clients import Clients
from readings.doors.mqtt.connection import Connection
from readings.doors.mqtt.subscriber.addresses import broker_address
from readings.doors.mqtt.subscriber.patterns import patterns_of
from readings.doors.mqtt.subscriber.subscriber import Subscriber
from readings.doors.switches import Door, is_open
from telemetry.gateway.ingest_lane import LaneSharing, Shared
from telemetry.server import connections
from telemetry.server.draining import BACKLOG
from telemetry.server.files import files_are_scarce

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
# Connections of one address. A TRUSTED_PROXIES address is not counted.
CONNECTIONS_PER_ADDRESS = 1_000


class CannotListen(Exception):
    """A port is in use, or its certificate cannot be read; the message says which."""


class Listener:
    def __init__(self, shared: Shared) -> None:
        self.addresses: dict[str, int] = {}
        self.clients = Clients(LaneSharing(shared), admit=self.admit, release=self.release)
        self.servers: list[asyncio.Server] = []
        self.subscriber: Subscriber | None = None

    def admit(self, address: str, descriptor: int) -> str | None:
        if files_are_scarce(descriptor):
            return None
        name = connections.counted_as(address)
        if name:
            if self.addresses.get(name, 0) >= CONNECTIONS_PER_ADDRESS:
                return None
            self.addresses[name] = self.addresses.get(name, 0) + 1
        return name

    def release(self, name: str) -> None:
        if name:
            self.addresses[name] -= 1
            if not self.addresses[name]:
                del self.addresses[name]

    async def start(self) -> list[str]:
        """Listens; returns the addresses. Raises CannotListen."""
        found = []
        for port, context in ports():
            try:
                server = await asyncio.get_running_loop().create_server(
                    lambda: Connection(self.clients),
                    settings.HOST,
                    port,
                    ssl=context,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS if context else None,
                    backlog=BACKLOG,
                )
            except OSError as error:
                await self.stop()
                raise CannotListen(f"Cannot listen for MQTT on {settings.HOST}:{port}: {error.strerror}.") from error
            self.servers.append(server)
            found.append(f"{settings.HOST}:{port}")
        return found

    def subscribe(self) -> str:
        """Starts to subscribe to the broker; returns its address. "" if there is none."""
        if not settings.MQTT_BROKER_URL or not is_open(Door.MQTT):
            return ""
        self.subscriber = Subscriber(
            self.clients.way,
            self.clients.say,
            address=broker_address(settings.MQTT_BROKER_URL),
            patterns=patterns_of(settings.MQTT_BROKER_TOPICS),
        )
        self.subscriber.start()
        return str(self.subscriber.address)

    async def stop(self) -> None:
        """Accepts nothing more, stores and acknowledges what was received, and closes."""
        for server in self.servers:
            server.close()
        subscribers = [self.subscriber.stop()] if self.subscriber else []
        await asyncio.gather(self.clients.drain(), *subscribers)

    async def start_beside(self, tell: Callable[[str], None]) -> None:
        """Like `start` and `subscribe`, beside the server for HTTP: a port that is taken is told, and is no error."""
        try:
            await self.start()
        except CannotListen as error:
            tell(f"{error} Running without MQTT. Choose another port with MQTT_PORT, or 0 for none.")
        self.subscribe()


def ports() -> list[tuple[int, ssl.SSLContext | None]]:
    """The ports, each with its TLS context. Raises CannotListen."""
    if not is_open(Door.MQTT):
        return []
    found: list[tuple[int, ssl.SSLContext | None]] = [(settings.MQTT_PORT, None)] if settings.MQTT_PORT else []
    if settings.MQTT_TLS_PORT:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(settings.MQTT_TLS_CERT, settings.MQTT_TLS_KEY or None)
        except (OSError, ssl.SSLError) as error:
            raise CannotListen(f"MQTT_TLS_CERT or MQTT_TLS_KEY cannot be read: {error}") from error
        found.append((settings.MQTT_TLS_PORT, context))
    return found

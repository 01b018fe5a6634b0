"""MQTT in the event loop of the process: listens on MQTT_PORT and MQTT_TLS_PORT, and subscribes to MQTT_BROKER_URL."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from readings.doors.mqtt.clients import Clients
from readings.doors.mqtt.connection import Connection
from readings.doors.mqtt.subscriber.addresses import broker_address
from readings.doors.mqtt.subscriber.patterns import patterns_of
from readings.doors.mqtt.subscriber.subscriber import Subscriber, words_of
from readings.doors.switches import Door, is_open
from telemetry.gateway.sharing import LaneSharing, Shared
from telemetry.server import connections
from telemetry.server.draining import BACKLOG
from telemetry.server.files import files_are_scarce

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 10.0
# Seconds between two looks whether the certificate was renewed.
RENEW_SECONDS = 60.0
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
        self.renewing: asyncio.Task[None] | None = None

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
                raise CannotListen(f"Cannot listen for MQTT on {settings.HOST}:{port}: {words_of(error)}.") from error
            self.servers.append(server)
            if context is not None:
                self.renewing = asyncio.get_running_loop().create_task(keep_renewing(context))
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
        if self.renewing is not None:
            self.renewing.cancel()
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
        load_certificate(context)
        found.append((settings.MQTT_TLS_PORT, context))
    return found


def load_certificate(context: ssl.SSLContext) -> None:
    """Raises CannotListen."""
    try:
        context.load_cert_chain(settings.MQTT_TLS_CERT, settings.MQTT_TLS_KEY or None, password=no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CannotListen(f"MQTT_TLS_CERT or MQTT_TLS_KEY cannot be read: {error}") from error


def no_password() -> str:
    """Called for an encrypted key, for which OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted with a password; store it without one")


async def keep_renewing(context: ssl.SSLContext) -> None:
    """Loads the certificate again when its files have changed, for new connections. An error keeps the one before."""
    known = written_at()
    while True:
        await asyncio.sleep(RENEW_SECONDS)
        if (now := written_at()) == known:
            continue
        known = now
        try:
            load_certificate(context)
        except CannotListen as error:
            logger.error("The certificate before is used on: %s", error)
        else:
            logger.info("The certificate of MQTT was loaded again.")


def written_at() -> list[float]:
    """The times at which the files of the certificate were written; 0 if one is not there for now."""
    files = [Path(name) for name in (settings.MQTT_TLS_CERT, settings.MQTT_TLS_KEY) if name]
    return [file.stat().st_mtime if file.exists() else 0.0 for file in files]

"""All MQTT connections of an event loop: who is connected, deadlines, revoked keys, and the end."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from devices.access.throttling import limit_of, parse_rate
from devices.database.runner import DatabaseRunner
from devices.database.work_kinds import Work
from devices.models import AccessVersion, ApiToken, Device, DeviceState
from readings.doors.mqtt import instruments
from readings.doors.mqtt.backlog import Backlog
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.connection import Connection
from readings.doors.mqtt.credentials import Identity
from readings.doors.mqtt.deadlines import check
from readings.doors.mqtt.payloads import Status
from readings.doors.mqtt.storing import Message, Outcome, Sender
from readings.doors.mqtt.subscriptions import tell_refused
from readings.doors.mqtt.way import Way
from readings.ingest.refused_posts import refused_post

logger = logging.getLogger(__name__)

# Connections of this process, and of one device's key. Gateways have no limit of their own.
CONNECTIONS_MAX = 10_000
CONNECTIONS_PER_DEVICE = 20
# Bytes that are received at a time; one buffer for all connections, because each is copied at once.
BUFFER_BYTES = 16 * 1024
CHECK_SECONDS = 1.0
# Seconds between two looks whether a key was revoked.
LOOK_SECONDS = 0.4
# Key hashes in one query.
BATCH_MAX = 500
# How long the database may take to answer.
ANSWER_SECONDS = 5.0
# When the server stops: seconds for messages that were received to be stored and acknowledged.
DRAIN_SECONDS = 15.0
CLOSE_SECONDS = 1.0

Admit = Callable[[str, int], str | None]


class Clients:
    """`admit` takes the address and the file descriptor of a new connection. It returns the name under which the
    address is counted, or None if it has too many connections; `release` uncounts it.
    """

    def __init__(self, way: Way, *, admit: Admit, release: Callable[[str], None]) -> None:
        self.way, self.admit, self.release = way, admit, release
        self.buffer = memoryview(bytearray(BUFFER_BYTES))
        self.backlog = Backlog()
        self.open: set[Connection] = set()
        self.sessions: dict[tuple[str, str], Connection] = {}
        self.of_names: Counter[str] = Counter()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = self.given_up = self.away = False
        self.runner = DatabaseRunner("mqtt", work=Work.INGEST, threads=1, seconds=ANSWER_SECONDS, waiting_max=1000)
        # The version of `AccessVersion` at which all keys were checked, and when the next of them expires.
        self.checked_at: int | None = None
        self.until: datetime | None = None
        self.watching: list[asyncio.Task[None]] = []

    # Connections

    def enter(self, connection: Connection, descriptor: int) -> str | None:
        if self.draining or len(self.open) >= CONNECTIONS_MAX:
            instruments.REFUSED_CONNECTIONS.labels("too_many").inc()
            return None
        counted_as = self.admit(connection.address, descriptor)
        if counted_as is None:
            instruments.REFUSED_CONNECTIONS.labels("address").inc()
            return None
        self.open.add(connection)
        if not self.watching:
            loop = asyncio.get_running_loop()
            self.watching = [loop.create_task(self.keep_checking()), loop.create_task(self.keep_looking())]
        return counted_as

    def connected(self, connection: Connection) -> None:
        """Counts an admitted connection, and ends an earlier one with its client id [MQTT-3.1.4-2].

        A client id is unique for its key only, because example programs of many boards share one.
        """
        assert connection.identity is not None
        name = connection.identity.name
        before = self.sessions.get((name, connection.client_id))
        self.sessions[name, connection.client_id] = connection
        self.of_names[name] += 1
        self.checked_at = None  # its key may have been revoked since it was looked up
        instruments.CONNECTIONS.inc()
        if before is not None:
            before.drop("taken_over", Reason.SESSION_TAKEN_OVER, "The client id has connected again.")

    def leave(self, connection: Connection) -> None:
        if connection in self.open:
            self.open.discard(connection)
            self.release(connection.counted_as)
        if connection.identity is None:
            return
        name = connection.identity.name
        instruments.CONNECTIONS.dec()
        self.of_names[name] -= 1
        if not self.of_names[name]:
            del self.of_names[name]
        if self.sessions.get((name, connection.client_id)) is connection:
            del self.sessions[name, connection.client_id]

    def is_full(self, identity: Identity) -> bool:
        return identity.own is not None and self.of_names[identity.name] >= CONNECTIONS_PER_DEVICE

    def is_connected(self, identity: Identity) -> bool:
        return self.of_names[identity.name] > 0

    def tell_refused(self, sender: Connection, message: Message, outcome: Outcome) -> None:
        """Tells the connections with the same key that have subscribed to it."""
        tell_refused(sender, message, outcome)
        if sender.identity is None or self.of_names[sender.identity.name] < 2:
            return
        for connection in self.open:
            if connection is not sender and connection.identity == sender.identity:
                tell_refused(connection, message, outcome)

    def note_failure(self, connection: Connection, detail: str, reason: Reason) -> None:
        """Notes why the connection of a device is ended, for its page."""
        refusal = refused_post(
            caller=connection.messages.sender.role,
            device_id=connection.messages.sender.own or "",
            address=connection.address,
            status=400,
            code=reason.name.lower(),
            detail=f"MQTT, disconnected: {detail}",
        )
        task = asyncio.get_running_loop().create_task(self.way.note(refusal, now=timezone.now()))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def must_wait(self, sender: Sender) -> float:
        """Takes one post of the device's rate (DEVICE_RATE_LIMIT); if it has none left, the seconds to wait."""
        rate = parse_rate(settings.DEVICE_RATE_LIMIT)
        if rate is None or sender.own is None:
            return 0.0
        return limit_of(rate).take(sender.own, now=time.monotonic())

    async def say(self, status: Status, at: datetime) -> None:
        """Stores what a device says about itself. Raises DatabaseError."""
        await self.runner.run(DeviceState.objects.say, status.device_id, online=status.online, at=at)

    # Checks

    async def keep_checking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            now = time.monotonic()
            for connection in list(self.open):
                try:
                    check(connection, now)
                except Exception:  # one connection must not stop the checks of the others
                    logger.exception("An MQTT connection cannot be checked")

    async def keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                self.away = False
            except (DatabaseError, InterfaceError) as error:
                if not self.away:
                    logger.warning("MQTT keys are not checked: the database does not answer (%s)", str(error).strip())
                self.away = True
            except Exception:
                logger.exception("MQTT keys could not be checked")

    async def look(self) -> None:
        """Ends the connections whose key was revoked or has expired, or whose device was deactivated."""
        found = {c: c.identity for c in self.sessions.values() if c.identity is not None and c.identity.key_hash}
        if not found:
            return
        now = timezone.now()
        since = None if self.until is not None and self.until <= now else self.checked_at
        hashes = {identity.key_hash or "": identity for identity in found.values()}
        # Set before the query: a connection that is admitted meanwhile sets it back.
        self.checked_at = since
        standing = await self.runner.run(valid_keys, list(hashes), version=since, now=now)
        if standing is None:
            return
        version, valid, self.until = standing
        if self.checked_at == since:
            self.checked_at = version if set(found) == self.with_keys() else None
        for connection, identity in found.items():
            if identity.key_hash not in valid:
                connection.will = None
                connection.drop("revoked", Reason.NOT_AUTHORIZED, "The key is no longer valid.")

    def with_keys(self) -> set[Connection]:
        return {c for c in self.sessions.values() if c.identity is not None and c.identity.key_hash}

    # The end

    async def drain(self) -> None:
        """Reads nothing more, stores and acknowledges what was received, and closes all connections."""
        self.draining = True
        for connection in list(self.open):
            connection.end(Reason.SERVER_SHUTTING_DOWN)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self.tasks and time.monotonic() < deadline:
            await asyncio.wait(self.tasks, timeout=max(0.0, deadline - time.monotonic()))
        self.given_up = True
        deadline = time.monotonic() + CLOSE_SECONDS
        while self.open and time.monotonic() < deadline:  # noqa: ASYNC110  bounded, and only at the end
            await asyncio.sleep(0.02)
        for connection in list(self.open):
            connection.transport.abort()
        for task in self.watching:
            task.cancel()
        self.watching = []


def valid_keys(
    hashes: list[str], *, version: int | None, now: datetime
) -> tuple[int, frozenset[str], datetime | None] | None:
    """The current `AccessVersion`, which of these keys are valid, and when the next expires.

    None, after one query, if the version is still `version`. Raises DatabaseError.
    """
    current = AccessVersion.objects.current()  # first, so that the next look finds a change made during this one
    if current == version:
        return None
    valid: set[str] = set()
    ends: list[datetime | None] = []
    for start in range(0, len(hashes), BATCH_MAX):
        part = hashes[start : start + BATCH_MAX]
        valid.update(Device.objects.for_key_hashes(part, now=now))
        tokens = ApiToken.objects.valid(now=now).filter(token_hash__in=part).values_list("token_hash", "expires_at")
        for token_hash, expires_at in tokens:
            valid.add(token_hash)
            ends.append(expires_at)
        retiring = Device.objects.filter(retiring_key_hash__in=part, retiring_key_expires_at__gt=now)
        ends += retiring.values_list("retiring_key_expires_at", flat=True)
    return current, frozenset(valid), min(filter(None, ends), default=None)

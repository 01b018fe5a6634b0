"""Keeps a connection to the broker, and stores what is delivered. A message is acknowledged after the commit."""

import asyncio
import logging
import os
import random
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import msgspec
from django.utils import timezone

from readings.doors.mqtt import instruments
from readings.doors.mqtt.backlog import MESSAGE_BYTES
from readings.doors.mqtt.payloads import Status
from readings.doors.mqtt.storing import GivenUp, Message, Sender, Storing
from readings.doors.mqtt.subscriber.addresses import BrokerAddress
from readings.doors.mqtt.subscriber.packets import Delivery
from readings.doors.mqtt.subscriber.patterns import Pattern, meaning_in
from readings.doors.mqtt.subscriber.session import PACKET_BYTES_MAX, Ended, Session
from readings.doors.mqtt.subscriber.turns import Turn
from readings.doors.mqtt.topics import NOTHING, Meaning
from readings.doors.mqtt.way import Way
from readings.log.entries import Refusal

logger = logging.getLogger(__name__)

# Seconds before the next attempt to connect: doubled after each failure, and up to a quarter longer at random.
PAUSE_SECONDS, PAUSE_SECONDS_MAX = 1.0, 60.0
CONNECT_SECONDS = 10.0
# Messages and bytes that wait to be stored; then the broker is read no further, and keeps the rest.
MESSAGES_MAX = 1_000
BYTES_MAX = 4 * 1024 * 1024
# Messages in one transaction.
BATCH_MAX = 200
DRAIN_SECONDS = 10.0
TOO_LARGE = Refusal("", "too_large", f"A message may have at most {PACKET_BYTES_MAX // 1024} KiB.")
NAME = "MQTT broker"


def words_of(error: OSError) -> str:
    """What the system says. asyncio's own text repeats the address."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror or error)


class Pending(msgspec.Struct):
    """`session`: the connection on which the message was delivered last; only there it may be acknowledged."""

    message: Message
    session: Session
    stored: bool = False

    def is_again(self, delivery: Delivery) -> bool:
        """Whether a delivery is this message, sent again after a new connection. Not by its identifier alone: RabbitMQ
        gives new ones then."""
        return delivery.dup and delivery.topic == self.message.name and delivery.payload == self.message.payload


class Subscriber:
    """`say` stores a status. With `alone` it does not wait for its turn among several processes."""

    def __init__(
        self,
        way: Way,
        say: Callable[[Status, datetime], Awaitable[None]],
        *,
        address: BrokerAddress,
        patterns: Sequence[Pattern],
        alone: bool = False,
    ) -> None:
        self.address, self.patterns = address, patterns
        self.filters = list(dict.fromkeys(pattern.filter for pattern in patterns))
        sender = Sender(None, "fleet", NAME, address.host)
        self.storing = Storing(way, sender, say, self.gives_up)
        self.waiting: deque[Message] = deque()
        self.unfinished = self.bytes = 0  # of messages that wait or are being stored
        # Messages that were received and are not acknowledged, by packet identifier.
        self.pending: dict[int, Pending] = {}
        # The connection, from the broker's welcome on, and the one before it. `opened`: also before the welcome.
        self.session: Session | None = None
        self.previous: Session | None = None
        self.opened: Session | None = None
        self.task: asyncio.Task[None] | None = None
        self.storing_task: asyncio.Task[None] | None = None
        self.has_turn, self.alone = asyncio.Event(), alone
        self.turn: Turn | None = None
        self.stopping = self.given_up = False
        # The turn was lost: what is being stored is acknowledged, nothing more is taken, and then it signs off.
        self.leaving = False

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        if self.alone:
            self.has_turn.set()
        else:
            self.turn = Turn(partial(self.tell_turn, loop))
            self.turn.start()
        self.task = loop.create_task(self.keep_connected())

    async def stop(self) -> None:
        """Stores and acknowledges what was received, for DRAIN_SECONDS, and signs off."""
        self.stopping = True
        if self.storing_task is not None:
            await asyncio.wait([self.storing_task], timeout=DRAIN_SECONDS)
        self.given_up = True
        if self.opened is not None:
            self.opened.finish()
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        if self.turn is not None:
            self.turn.end()

    def tell_turn(self, loop: asyncio.AbstractEventLoop, mine: bool) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self.turn_changed, mine)

    def turn_changed(self, mine: bool) -> None:
        if mine:
            self.has_turn.set()
            return
        self.has_turn.clear()
        # The broker sends these again, to the next that subscribes: stored here too, they would be there twice.
        again = [message for message in self.waiting if message.qos]
        self.waiting = deque(message for message in self.waiting if not message.qos)
        self.unfinished -= len(again)
        self.bytes -= sum(message.size for message in again)
        self.leaving = True
        if self.storing_task is None:
            self.sign_off()

    def sign_off(self) -> None:
        self.leaving = False
        self.pending.clear()
        if self.opened is not None:
            self.opened.finish()

    def gives_up(self) -> bool:
        return self.given_up or not self.has_turn.is_set()

    # Connecting

    async def keep_connected(self) -> None:
        pause = PAUSE_SECONDS
        told = ""
        while not self.stopping:
            await self.has_turn.wait()
            try:
                ended, was_subscribed = await self.connection()
            except Exception:  # of any kind: without this task nothing is subscribed to any more
                logger.exception("The connection to the MQTT broker %s failed", self.address)
                ended, was_subscribed = Ended("an error of this server; see its log", refused=True), False
            if self.stopping or not self.has_turn.is_set():
                continue
            if was_subscribed:
                pause, told = PAUSE_SECONDS, ""
            if ended.refused:
                pause = max(pause, PAUSE_SECONDS_MAX / 4)
            if str(ended) != told:  # the same reason once, however often it is tried
                logger.warning("The MQTT broker %s is tried again: %s.", self.address, ended)
            told = str(ended)
            instruments.BROKER_FAILURES.inc()
            await asyncio.sleep(pause * random.uniform(1, 1.25))  # noqa: S311  no secret
            pause = min(2 * pause, PAUSE_SECONDS_MAX)

    async def connection(self) -> tuple[Ended, bool]:
        """Connects, and waits until the connection has ended: why, and whether it was subscribed."""
        session = Session(
            self.address, self.filters, admitted=self.admitted, delivered=self.delivered, may_read=self.may_read
        )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().create_connection(
                    lambda: session,
                    self.address.host,
                    self.address.port,
                    ssl=ssl.create_default_context() if self.address.tls else None,
                )
        except TimeoutError:
            return Ended("it does not answer"), False
        except ssl.SSLError as error:
            return Ended(f"TLS failed: {error.reason or error}"), False
        except OSError as error:
            return Ended(f"it cannot be reached: {words_of(error)}"), False
        self.opened = session
        try:
            return await session.closed, session.subscribed
        finally:
            self.opened = self.session = None

    def admitted(self, session: Session, kept: bool) -> None:
        """Keeps what the last connection delivered, if the broker has kept the session: it sends these again."""
        before, self.session = self.previous, session
        self.previous = session
        self.pending = {i: one for i, one in self.pending.items() if kept and one.session is before}

    # Messages

    def may_read(self) -> bool:
        full = self.unfinished >= MESSAGES_MAX or self.bytes >= BYTES_MAX
        return not (self.stopping or self.leaving or full)

    def delivered(self, session: Session, delivery: Delivery) -> None:
        known = self.pending.get(delivery.packet_id) if delivery.qos else None
        if known is not None and known.is_again(delivery):
            known.session = session
            if known.stored:
                self.acknowledge([known.message])
            return  # else it is being stored, and is acknowledged then
        if delivery.qos and (self.leaving or not self.has_turn.is_set()):
            return  # it comes again, to the next that subscribes
        topic = meaning_in(self.patterns, delivery.topic)
        if delivery.retain and topic.meaning is not Meaning.STATUS:
            topic = NOTHING  # an old value, which the broker sends after each SUBSCRIBE
        payload = delivery.payload or b""
        too_large = delivery.payload is None and topic.meaning is not Meaning.NOTHING
        message = Message(
            delivery.topic,
            topic,
            payload,
            timezone.now(),
            delivery.qos,
            delivery.packet_id,
            len(payload) + MESSAGE_BYTES,
            TOO_LARGE if too_large else None,
        )
        if delivery.qos:
            self.pending[delivery.packet_id] = Pending(message, session)
        self.bytes += message.size
        self.unfinished += 1
        self.waiting.append(message)
        if self.storing_task is None:
            self.storing_task = asyncio.get_running_loop().create_task(self.store())

    async def store(self) -> None:
        try:
            while self.waiting:
                count = min(BATCH_MAX, len(self.waiting))
                messages = [self.waiting.popleft() for _ in range(count)]
                try:
                    await self.storing.finish(messages)
                except GivenUp:  # the broker sends them again
                    instruments.MESSAGES.labels("given_up").inc(count)
                else:
                    self.acknowledge(messages)
                self.bytes -= sum(message.size for message in messages)
                self.unfinished -= count
                if self.leaving:
                    self.sign_off()
                if self.session is not None and not self.session.is_closed():
                    self.session.read_on()
        except Exception:
            logger.exception("Messages of the MQTT broker could not be handled")
            if self.session is not None:
                self.session.fail(Ended("an error of this server; see its log"))
            self.waiting.clear()
            self.unfinished = self.bytes = 0
            self.sign_off()
        finally:
            self.storing_task = None

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Acknowledges stored messages, as far as the connection that delivered them is open."""
        found = []
        for message in messages:
            pending = self.pending.get(message.packet_id) if message.qos else None
            if pending is not None and pending.message is message:
                pending.stored = True
                if pending.session is self.session:
                    found.append(message.packet_id)
        if found and self.session is not None and self.session.acknowledge(found):
            for packet_id in found:
                del self.pending[packet_id]

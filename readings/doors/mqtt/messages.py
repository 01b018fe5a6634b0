"""The messages of one connection: they wait, are stored, and are acknowledged after the commit."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from django.utils import timezone

from readings.doors.mqtt import instruments
from readings.doors.mqtt.backlog import MESSAGE_BYTES
from readings.doors.mqtt.codec import encoding
from readings.doors.mqtt.codec.packets import Publish, Will
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.storing import GivenUp, Message, Outcome, Sender, Storing
from readings.doors.mqtt.topics import Meaning, meaning_of

if TYPE_CHECKING:
    from readings.doors.mqtt.connection import Connection

logger = logging.getLogger(__name__)

# Messages of one connection that wait to be stored: Receive Maximum of MQTT 5. Clients of 3.1.1 are read more slowly.
MESSAGES_MAX = 100
# How long messages of a client that is gone are tried to be stored. A message with QoS 1 comes again.
GONE_SECONDS = 5.0


class Messages:
    """Messages wait in `waiting` until the task `storing` has stored them.

    It acknowledges them in their order [MQTT-4.6.0-2]. `gone_at`: when the client went away (`time.monotonic`).
    """

    __slots__ = ("clients", "connection", "gone_at", "sender", "storing", "unfinished", "waiting")

    def __init__(self, connection: "Connection", sender: Sender) -> None:
        self.connection, self.clients, self.sender = connection, connection.clients, sender
        self.waiting: list[Message] = []  # an empty deque takes ten times the memory, and most connections are idle
        self.unfinished = 0  # messages that wait or are being stored
        self.storing: asyncio.Task[None] | None = None
        self.gone_at: float | None = None

    def add(self, packet: Publish, *, reserved: int = 0) -> None:
        """Adds a message with QoS 0 or 1. `reserved`: bytes that it has taken of the backlog already."""
        size = reserved or self.take_room(packet.payload)
        topic = meaning_of(packet.topic)
        self.wait(Message(packet.topic, topic, packet.payload, timezone.now(), packet.qos, packet.packet_id, size))

    def add_will(self, will: Will) -> None:
        """Adds the will. A device that has another connection is not offline, whatever this one says."""
        topic = meaning_of(will.topic)
        is_status = topic is not None and topic.meaning is Meaning.STATUS
        identity = self.connection.identity
        if is_status and identity is not None and identity.own is not None and self.clients.is_connected(identity):
            return
        self.wait(Message(will.topic, topic, will.payload, timezone.now(), size=self.take_room(will.payload)))

    def take_room(self, payload: bytes) -> int:
        size = len(payload) + MESSAGE_BYTES
        self.clients.backlog.add(size)
        return size

    def wait(self, message: Message) -> None:
        self.waiting.append(message)
        self.unfinished += 1
        if self.storing is None:
            self.storing = asyncio.get_running_loop().create_task(self.store())
            self.clients.tasks.add(self.storing)
            self.storing.add_done_callback(self.clients.tasks.discard)

    async def store(self) -> None:
        """Stores the waiting messages and acknowledges them, until none waits."""
        storing = Storing(self.clients.way, self.sender, self.clients.say, self.gives_up)
        messages: list[Message] = []
        try:
            while self.waiting:
                wait = self.clients.must_wait(self.sender)
                if wait:
                    await asyncio.sleep(wait)
                    continue
                count = 1
                while count < min(len(self.waiting), MESSAGES_MAX) and not self.clients.must_wait(self.sender):
                    count += 1
                messages, self.waiting = self.waiting[:count], self.waiting[count:]
                self.acknowledge(messages, await storing.finish(messages))
                self.release(messages)
                messages = []
                self.connection.read_on()
        except GivenUp:
            instruments.MESSAGES.labels("given_up").inc(len(messages) + len(self.waiting))
        except Exception:
            logger.exception("MQTT: the messages of a connection could not be handled")
            self.connection.fail(Reason.UNSPECIFIED_ERROR, "")
        finally:
            self.storing = None
            self.release([*messages, *self.waiting])
            self.waiting.clear()

    def release(self, messages: list[Message]) -> None:
        self.unfinished -= len(messages)
        self.clients.backlog.give_back(sum(message.size for message in messages))

    def gives_up(self) -> bool:
        return self.clients.given_up or (self.gone_at is not None and time.monotonic() - self.gone_at > GONE_SECONDS)

    def acknowledge(self, messages: list[Message], outcomes: list[Outcome]) -> None:
        """Sends the PUBACK of each message with QoS 1, all in one write, and tells subscribers what was refused."""
        connection = self.connection
        packets = []
        for message, outcome in zip(messages, outcomes, strict=True):
            detail = outcome.refused[1].detail if outcome.refused else ""
            if message.qos:
                shown = detail[:200] if connection.problem_information else ""
                packets.append(encoding.puback(connection.level, message.packet_id, outcome.reason, shown))
            if outcome.refused:
                self.clients.tell_refused(connection, message, outcome)
        if packets:
            connection.write(b"".join(packets))

"""Stores messages: in their order, and again until the outcome is final.

Refused for now (overload, a database that is away) means: stored later. Only what can never be stored is refused.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from devices import cpu_pool
from devices.access.callers import Caller
from devices.api.json_decoding import is_light
from devices.cpu_pool import TooManyLargeBodies
from devices.database.errors import trouble_of
from devices.querysets import visible_ids
from readings.doors.mqtt import instruments
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.payloads import Content, Status, content_of, known
from readings.doors.mqtt.topics import Meaning, Topic
from readings.doors.mqtt.way import Way
from readings.doors.registering import record_seen
from readings.doors.skipped_values import skipped_posts
from readings.doors.switches import Door
from readings.ingest.refused_posts import CallerRole, refused_post
from readings.ingest.token_limits import OUTSIDE_LIMIT
from readings.log.damage import LogDamaged
from readings.log.entries import NewReading, Refusal
from readings.log.group_commit import Overloaded
from readings.log.recording import INACTIVE_DEVICE, UNKNOWN_DEVICE, OutcomeUnknown, Recorded

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Pauses between attempts in seconds; the last one repeats.
PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
# Attempts at messages that fail with an error of our own code; then they are refused, so that they do not come back.
ATTEMPTS = 3
# Different reasons that are noted of one message.
REASONS_NOTED = 5

UNKNOWN_TOPIC = Refusal("", "unknown_topic", "This topic has no meaning here. See the guide, MQTT.")
SERVER_ERROR = Refusal(
    "", "server_error", "The server could not store this because of an error of its own; see its log."
)
# The status of a refused post, by the code of its refusal; others have 422. HTTP's, because the list has these.
STATUSES = {
    "malformed": 400,
    "other_device": 403,
    INACTIVE_DEVICE.code: 403,
    UNKNOWN_TOPIC.code: 404,
    SERVER_ERROR.code: 500,
    LogDamaged.default_code: 500,
}
REASONS = {
    "other_device": Reason.NOT_AUTHORIZED,
    INACTIVE_DEVICE.code: Reason.NOT_AUTHORIZED,
    UNKNOWN_TOPIC.code: Reason.INVALID_TOPIC_NAME,
    SERVER_ERROR.code: Reason.UNSPECIFIED_ERROR,
    LogDamaged.default_code: Reason.UNSPECIFIED_ERROR,
}


class Message(msgspec.Struct):
    """`name`: the topic as it was sent. `size`: bytes that the message takes of the backlog.

    `refusal`: why it cannot be stored, if that is known already.
    """

    name: str
    topic: Topic | None
    payload: bytes
    received_at: datetime
    qos: int = 0
    packet_id: int = 0
    size: int = 0
    refusal: Refusal | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The final outcome of a message. `refused`: its device and why, if nothing of it was stored."""

    reason: Reason = Reason.SUCCESS
    refused: tuple[str, Refusal] | None = None


DONE = Outcome()


class GivenUp(Exception):
    """The sender is gone, and its messages could not be stored in time. A message with QoS 1 comes again."""


class Sender(msgspec.Struct, frozen=True):
    """Who sent the messages. `own`: the device of the key; None: a gateway. `address`: for refused posts.

    `caller`: None before it is admitted.
    """

    own: str | None
    role: CallerRole
    name: str
    address: str
    caller: Caller | None = None


class Storing:
    """Stores the messages of one sender. `gives_up`: whether to stop trying, asked after each failed attempt."""

    def __init__(
        self,
        way: Way,
        sender: Sender,
        say: Callable[[Status, datetime], Awaitable[None]],
        gives_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.way, self.sender, self.say, self.gives_up = way, sender, say, gives_up

    async def finish(self, messages: Sequence[Message]) -> list[Outcome]:
        """The final outcomes, in order. Raises GivenUp."""
        contents = [
            self.content(message) if is_light(message.payload) else await self.large_content(message)
            for message in messages
        ]
        try:
            recorded = await self.recorded(contents, messages)
        except (asyncio.CancelledError, GivenUp):
            raise
        except Exception:
            if len(messages) > 1:  # one of them must not fail the others
                return [outcome for message in messages for outcome in await self.finish([message])]
            logger.exception("An MQTT message could not be stored")
            contents[0].refusals.append((self.sender.own or "", SERVER_ERROR))
            contents[0].readings = []
            recorded = []
        outcomes = []
        place = 0
        for message, content in zip(messages, contents, strict=True):
            after = place + len(content.readings)
            outcomes.append(self.outcome(content, recorded[place:after]))
            if content.skipped or content.refusals:
                await self.note(message, content)
            place = after
        return outcomes

    def content(self, message: Message) -> Content:
        topic = message.topic
        if message.refusal is not None:
            return Content(refusals=[(self.sender.own or known(topic.device_id if topic else None), message.refusal)])
        if topic is None:
            return Content(refusals=[(self.sender.own or "", UNKNOWN_TOPIC)])
        if topic.meaning is Meaning.NOTHING:
            return Content()
        return content_of(topic, message.payload, own=self.sender.own, received_at=message.received_at)

    async def large_content(self, message: Message) -> Content:
        while True:
            try:
                return await cpu_pool.run(self.sender.name, partial(self.content, message))
            except TooManyLargeBodies:
                await asyncio.sleep(PAUSES[0])

    async def recorded(self, contents: Sequence[Content], messages: Sequence[Message]) -> list[Recorded]:
        """Stores the readings in one transaction, then what devices say of their status."""
        readings = [reading for content in contents for reading in content.readings]
        recorded: list[Recorded] = []
        if readings:
            received_at = max(message.received_at for message in messages)
            recorded = await self.persist(partial(self.record, readings, received_at=received_at))
        for message, content in zip(messages, contents, strict=True):
            if content.status is not None and await self.may_say(content):
                await self.persist(partial(self.say, content.status, message.received_at))
        return recorded

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        """Refuses only the readings that are in a damaged segment already, because no other one would come again."""
        try:
            if (caller := self.sender.caller) is None:
                return await self.way.record(readings, received_at=received_at, caller=None)
            return await record_seen(caller, self.way, readings, received_at=received_at)
        except LogDamaged as error:
            if len(readings) == 1:
                return [Recorded(refusal=Refusal("id", error.default_code, str(error.detail)))]
        middle = len(readings) // 2
        parts = readings[:middle], readings[middle:]
        return [outcome for part in parts for outcome in await self.record(part, received_at=received_at)]

    async def may_say(self, content: Content) -> bool:
        """Whether the sender may say the status in `content`; if not, it becomes a refusal."""
        caller, status = self.sender.caller, content.status
        assert status is not None
        if caller is None or caller.token is None or caller.token.limit is None:
            return True
        if await self.persist(partial(self.way.ask, visible_ids, [status.device_id], caller.token.limit)):
            return True
        content.refusals.append((status.device_id, OUTSIDE_LIMIT))
        content.status = None
        return False

    async def persist(self, action: Callable[[], Awaitable[T]]) -> T:
        """The result of the action, which is tried again while it is refused for now. Raises GivenUp."""
        failures = errors = 0
        while True:
            try:
                return await action()
            except (Overloaded, OutcomeUnknown):
                pass
            except (DatabaseError, InterfaceError) as error:
                if trouble_of(error) is None and (errors := errors + 1) >= ATTEMPTS:
                    raise
            instruments.RETRIES.inc()
            if self.gives_up():
                raise GivenUp
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    def outcome(self, content: Content, recorded: Sequence[Recorded]) -> Outcome:
        """Also adds what was refused to the refusals of `content`."""
        refusals = content.refusals
        stored = 0
        for reading, result in zip(content.readings, recorded, strict=True):
            if result.refusal is None:
                stored += 1
            else:
                refusals.append((reading.device_id, result.refusal))
        count(content.readings, recorded, len(refusals))
        if stored or content.status or not refusals:
            ignored = not stored and not content.status
            instruments.messages("ignored" if ignored else "stored" if stored else "status").inc()
            return DONE
        instruments.messages("refused").inc()
        device_id, refusal = refusals[0]
        return Outcome(REASONS.get(refusal.code, Reason.INVALID_PAYLOAD), (device_id, refusal))

    async def note(self, message: Message, content: Content) -> None:
        """Notes why something was not stored, for the device's page."""
        now = timezone.now()
        if content.skipped:
            posts = skipped_posts(
                content.skipped,
                door=Door.MQTT,
                caller=self.sender.role,
                limit=self.limit(),
                address=self.sender.address,
                status=200,
                now=time.monotonic(),
            )
            for post, times in posts:
                await self.way.note(post, now=now, count=times)
        for device_id, refusal in list(dict.fromkeys(content.refusals))[:REASONS_NOTED]:
            await self.way.note(self.post(message, device_id, refusal), now=now)

    def limit(self) -> frozenset[int] | None:
        return self.sender.caller.limit if self.sender.caller else None

    def post(self, message: Message, device_id: str, refusal: Refusal) -> Any:
        return refused_post(
            caller=self.sender.role,
            device_id=device_id,
            address=self.sender.address,
            status=STATUSES.get(refusal.code, 422),
            code=refusal.code,
            field=refusal.field,
            detail=f"MQTT, {message.name[:80]}: {refusal.detail}",
            unknown_device=refusal.code == UNKNOWN_DEVICE.code,
            limit=self.limit(),
        )


def count(readings: Sequence[NewReading], recorded: Sequence[Recorded], refused: int) -> None:
    duplicates = sum(result.duplicate for result in recorded)
    stored = sum(result.refusal is None for result in recorded) - duplicates
    for outcome, number in (("stored", stored), ("duplicate", duplicates), ("refused", refused)):
        if number:
            instruments.readings(outcome).inc(number)

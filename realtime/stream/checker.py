"""A check every few seconds: compares logs and alarms with the database, finds changed statuses and slow readers."""

import asyncio
import logging
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError
from django.utils import timezone

from realtime.database import in_database
from realtime.protocol import frames
from realtime.stream.alarm_boards import AlarmBoards
from realtime.stream.feed import Feed
from realtime.stream.listener import Listener
from realtime.stream.positions import Position, positions
from realtime.stream.subscriptions import Subscription
from realtime.stream.watched_log import Log

logger = logging.getLogger(__name__)

T = TypeVar("T")

CHECK_SECONDS = 3.0
# The shortest pause between two checks, used when a device that was not online reports again.
SOON_SECONDS = 0.5
# Readings that a check finds count as missing only after this time, because their announcement may still arrive.
GRACE_SECONDS = 0.3


class Checker:
    """Runs while there are subscriptions; each round makes a few queries, for any number of sockets."""

    def __init__(
        self, feed: Feed, alarms: AlarmBoards, listener: Listener, subscriptions: Collection[Subscription]
    ) -> None:
        self.feed = feed
        self.alarms = alarms
        self.listener = listener
        self.subscriptions = subscriptions
        self.away = False
        # Numbers of the last check begun and of the last one answered: a check that a later one overtook is outdated.
        self.asked = self.answered = 0
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.task is None:
            self.task = asyncio.create_task(self.run())

    async def run(self) -> None:
        try:
            while True:
                await self.pause()
                # The sockets need the next round even if this one fails.
                try:
                    if await self.is_over():
                        return
                except Exception:
                    logger.exception("A round of checks of the live sockets failed")
        finally:
            self.task = None

    async def is_over(self) -> bool:
        """Runs one round; returns True if there are no subscriptions left."""
        await self.listener.reconcile()
        if not self.subscriptions:
            await self.listener.rest()
            if not self.subscriptions:
                return True
        for subscription in self.subscriptions:
            subscription.outgoing.check()
        await self.ask()
        return False

    async def pause(self) -> None:
        """Waits CHECK_SECONDS, or down to SOON_SECONDS if a device that was not online has reported."""
        await asyncio.sleep(SOON_SECONDS)
        try:
            async with asyncio.timeout(CHECK_SECONDS - SOON_SECONDS):
                await self.feed.status_in_doubt.wait()
        except TimeoutError:
            pass
        self.feed.status_in_doubt.clear()

    async def ask(self) -> None:
        await self.safely(self.alarms.check())
        missing = await self.safely(self.check(None if self.feed.fleet else list(self.feed.logs)))
        if missing:
            await asyncio.sleep(GRACE_SECONDS)
            for log, last_seq in missing:
                if self.feed.logs.get(log.device_id) is log:
                    self.feed.expect(log, last_seq)

    async def safely(self, question: Coroutine[Any, Any, T]) -> T | None:
        """The result of `question`, or None if it fails; the failure is logged, and the next round asks again."""
        try:
            answer = await question
        except (DatabaseError, InterfaceError) as error:
            if not self.away:
                logger.warning("Live sockets are not checked: the database does not answer (%s)", str(error).strip())
            self.away = True
        except Exception:
            logger.exception("A check of the live sockets failed")
        else:
            self.away = False
            return answer
        return None

    async def list_fleet(self) -> list[tuple[Log, int]]:
        """Adds every log of the fleet to the feed; returns those that are longer in the database, and their length.

        Raises DatabaseError.
        """
        return await self.check(None)

    async def check(self, device_ids: Collection[str] | None) -> list[tuple[Log, int]]:
        """Compares logs with the database; returns those that are longer there, with their length.

        `device_ids` None means the whole fleet. A log that was replaced or became shorter ends its sockets. Changed
        statuses are sent. Raises DatabaseError.
        """
        if device_ids is not None and not device_ids:
            return []
        logs = self.feed.logs
        self.asked += 1
        number = self.asked
        before = {log: log.position for log in logs.values()}
        found, version = await in_database(positions, device_ids, now=timezone.now())
        if device_ids is None:
            for position in found:
                if position.device_id not in logs:
                    # If the fleet is watched already, this device is new and its log is sent from the beginning.
                    new = Log(position.device_id, 0, None, None, position.log_id)
                    listed = Log(*position)
                    logs[position.device_id] = new if self.feed.fleet else listed
        ends = {position.device_id: position for position in found}
        for log, heard in before.items():
            end = ends.get(log.device_id)
            if logs.get(log.device_id) is not log:
                continue
            if end is None or end.last_seq < heard or log.is_replaced_by(end.log_id):
                self.feed.replace(log)
        await self.feed.may_flush(version)
        if number > self.answered:
            self.answered = number
            self.say_statuses(found)
        known = [(logs[position.device_id], position) for position in found if position.device_id in logs]
        return [(log, position.last_seq) for log, position in known if log.position < position.last_seq]

    def say_statuses(self, found: Collection[Position]) -> None:
        """Sends each changed status to the sockets that watch its device.

        Also sends a `last_seen_at` that no readings told: the device repeated a reading that is stored already, or the
        readings were read from the database, where their receipt is unknown.
        """
        for position in found:
            log = self.feed.logs.get(position.device_id)
            if log is None:
                continue
            # Otherwise the readings on their way tell it.
            settled = log.position == position.last_seq and not log.taken
            heard = settled and log.last_seen_at != position.last_seen_at
            if log.status == position.status and not heard:
                continue
            log.status = position.status
            if log.position <= position.last_seq:  # else live readings were sent after this check began
                log.last_seen_at = position.last_seen_at
            frame = frames.status(log.device_id, log.status, log.last_seen_at)
            for subscription in self.feed.audience(log):
                if subscription.sees(log.device_id):
                    subscription.outgoing.put(frame)

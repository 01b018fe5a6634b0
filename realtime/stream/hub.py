"""The hub of an event loop: its sockets, the logs they watch, and their way from their own position to the live one."""

import asyncio
import contextlib
import logging
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from django.utils import timezone

from devices.models import Device
from devices.status import Status
from readings.log.damage import LogDamaged
from realtime.access.admission import Refused
from realtime.database import in_database
from realtime.protocol import frames
from realtime.protocol.client_messages import Resuming
from realtime.protocol.endings import UNAVAILABLE, damaged
from realtime.protocol.groups import ALARMS_CHANGED, FLEET_GROUP, device_group
from realtime.stream.alarm_boards import AlarmBoards
from realtime.stream.checker import Checker
from realtime.stream.feed import REPLACED, Feed
from realtime.stream.listener import Listener
from realtime.stream.positions import Position, positions
from realtime.stream.replays import LOGS_PER_READ
from realtime.stream.revocations import Revocations
from realtime.stream.subscriptions import Lag, Subscription
from realtime.stream.watched_log import Log

logger = logging.getLogger(__name__)


class Hub:
    def __init__(self) -> None:
        self.subscriptions: set[Subscription] = set()
        self.revocations = Revocations(self.subscriptions)
        self.feed = Feed(self.revocations)
        self.listener = Listener(self.hear)
        self.alarms = AlarmBoards(self.feed, self.listener)
        self.checker = Checker(self.feed, self.alarms, self.listener, self.subscriptions)

    def hear(self, message: dict[str, Any]) -> None:
        """Takes a message of the channel layer."""
        if message["type"] == ALARMS_CHANGED:
            self.alarms.hear(message)
        else:
            self.feed.hear(message)

    async def watch_device(
        self, subscription: Subscription, device: Device, *, after: int | None, log_id: str | None
    ) -> None:
        """Sends `subscribed`, the open alarms, the log after `after`, then what is new; `after` None: only what is new.

        `log_id` is the log to which `after` refers; if the device now has another log, it is sent from its beginning.
        Raises Refused, DatabaseError, TimeoutError.
        """
        subscription.device_id = device.device_id
        self.enter(subscription)
        subscription.behind[device.device_id] = Lag(0)  # holds live frames back until the start is known
        await self.alarms.prepare(subscription, device.device_id)
        log, last_seq = await self.join(device, subscription)
        await self.feed.reach([(log, last_seq)])
        log.flush(self.feed.fleet)
        subscription.outgoing.put(frames.subscribed(log.end()))
        self.alarms.enter(subscription, device.device_id)
        if after is not None and log_id is not None and log_id != log.id:
            after = 0
        start = log.position if after is None else min(after, log.position)
        self.begin(subscription, log, start)
        self.replay_soon(subscription)

    async def join(self, device: Device, subscription: Subscription) -> tuple[Log, int]:
        """Adds the subscription to the device's log; returns the log, and its length in the database after that.

        Raises Refused if the device was replaced after the admission, DatabaseError, TimeoutError.
        """
        group, log_id = device_group(device.pk), str(device.pk)
        log = self.feed.logs.get(device.device_id)
        if log is not None and log.group == group and group in self.listener.joined:
            status = log.status or Status.NEVER
            end = Position(device.device_id, device.state.last_seq, status, log.last_seen_at, log_id)
        else:
            await self.listener.join(group)
            answer = await in_database(positions, [device.device_id], now=timezone.now())
            self.feed.heard = max(self.feed.heard, answer.access_version)
            found = [position for position in answer.found if position.log_id == log_id]
            if not found:
                raise Refused(REPLACED)  # the device was erased after the admission
            (end,) = found
            log = self.feed.logs.get(device.device_id)
            if log is not None and log.is_replaced_by(log_id):
                self.feed.replace(log)
        new = Log(device.device_id, end.last_seq, end.status, end.last_seen_at, log_id)
        log = self.feed.logs.setdefault(device.device_id, new)
        log.group = group
        log.watchers.add(subscription)
        subscription.log = log
        self.listener.keep(group)  # the last watcher before this one may have left meanwhile
        return log, end.last_seq

    async def watch_fleet(self, subscription: Subscription, resuming: Resuming | None) -> None:
        """Sends the open alarms and the ends of all logs, then what is new; with `resuming`, also what was missed.

        A log is sent from its beginning if the client named no position in it or a position in another log; with
        `others_now`, a log without a position is sent from now on. Raises DatabaseError, TimeoutError.
        """
        self.enter(subscription)
        await self.alarms.prepare(subscription, subscription.scope)
        self.alarms.enter(subscription, subscription.scope)
        await self.listener.join(FLEET_GROUP)
        feed = self.feed
        await feed.reach(await self.checker.list_fleet())
        for log in feed.logs.values():
            log.flush(feed.fleet)
            if not subscription.sees(log.device_id):
                continue
            start = log.position if resuming is None else resuming.start(log.device_id, log.id, end=log.position)
            self.begin(subscription, log, start)
        feed.fleet.add(subscription)
        self.listener.keep(FLEET_GROUP)
        ends = [log.end() for log in feed.logs.values() if subscription.sees(log.device_id)]
        for first in range(0, max(len(ends), 1), frames.POSITIONS_PER_FRAME):
            await subscription.outgoing.room()
            until = first + frames.POSITIONS_PER_FRAME
            subscription.outgoing.put(frames.positions(ends[first:until], more=until < len(ends)))
        self.replay_soon(subscription)

    async def watch_alarms(self, subscription: Subscription) -> None:
        """Sends the open alarms of the whole fleet, then each change. Raises DatabaseError, TimeoutError."""
        self.enter(subscription)
        await self.alarms.prepare(subscription, subscription.scope)
        self.alarms.enter(subscription, subscription.scope)

    def begin(self, subscription: Subscription, log: Log, start: int) -> None:
        """Sets the subscription to continue after `start` in a log whose readings are all flushed."""
        if start < log.position:
            subscription.behind[log.device_id] = Lag(start)
        else:  # live at once, also for a client that is ahead of a log restored from a backup
            subscription.behind.pop(log.device_id, None)

    def enter(self, subscription: Subscription) -> None:
        self.subscriptions.add(subscription)
        self.revocations.enter(subscription)
        self.checker.start()

    def leave(self, subscription: Subscription) -> None:
        if subscription.replaying is not None:
            subscription.replaying.cancel()
        self.subscriptions.discard(subscription)
        self.alarms.leave(subscription)
        logs = self.feed.logs
        if subscription in self.feed.fleet:
            self.feed.fleet.discard(subscription)
            if not self.feed.fleet:
                self.listener.leave(FLEET_GROUP)
                for log in [log for log in logs.values() if not log.watchers]:
                    self.feed.forget(log)
        elif (watched := subscription.log) is not None:
            watched.watchers.discard(subscription)
            if not watched.watchers:
                self.listener.leave(watched.group)
                watched.group = ""
                if not self.feed.fleet:
                    self.feed.forget(watched)

    def replay_soon(self, subscription: Subscription) -> None:
        if subscription.behind:
            subscription.replaying = asyncio.create_task(self.replay_or_close(subscription))

    async def replay_or_close(self, subscription: Subscription) -> None:
        """Replays, and closes the socket if that fails, because an open socket must not stay silent."""
        try:
            await self.replay(subscription)
        except LogDamaged as error:
            subscription.outgoing.give_up(damaged(error))
        except Exception:
            logger.exception("A replay failed")
            subscription.outgoing.give_up(UNAVAILABLE)

    async def replay(self, subscription: Subscription) -> None:
        """Sends the readings that the socket lacks, as fast as its reader takes them, until it is live with every log.

        Returns early if the socket gets an ending.
        """
        feed, behind = self.feed, subscription.behind
        while behind and subscription.outgoing.ending is None:
            await feed.may_flush()
            for device_id in list(islice(behind, LOGS_PER_READ)):
                if (log := feed.logs.get(device_id)) is None:
                    return  # the log was replaced, and the socket is being closed
                log.flush(feed.fleet)
                subscription.catch_up(device_id, log.position)
            lags = {feed.logs[name]: lag.position for name, lag in islice(behind.items(), LOGS_PER_READ)}
            # The socket may have read further in the database than this process has heard; then wait for the process.
            with contextlib.suppress(TimeoutError):
                await feed.reach(lags.items())
            after = {log.device_id: lag for log, lag in lags.items() if lag < log.position}
            until = {log.device_id: log.position for log in lags if log.device_id in after}
            if not after:
                continue
            for seq_range, frame in await feed.stored(after, until=until):
                await subscription.outgoing.room()
                subscription.replay(seq_range, frame)


hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()


def current_hub() -> Hub:
    """The hub of the running event loop, created at its first use."""
    loop = asyncio.get_running_loop()
    if (hub := hubs.get(loop)) is None:
        hub = hubs[loop] = Hub()
    return hub

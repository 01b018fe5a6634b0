"""Sends alarms to the sockets that may see them: the open ones first, then each change.

A process keeps the open alarms that its sockets watch, on one board for each watched device and one for the fleet.
Announced changes are applied to the boards and sent. Every few seconds the boards are compared with the database; where
a change was not announced, the sockets get all open alarms again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from realtime.database import in_database
from realtime.protocol import frames
from realtime.protocol.groups import ALARMS_GROUP
from realtime.stream.feed import Feed
from realtime.stream.listener import Listener
from realtime.stream.open_alarms import Found, KnownAlarm, OpenAlarms, Watched, concerns, open_alarms
from realtime.stream.subscriptions import Subscription

# Announcements that may wait for a check of credentials. The oldest are dropped, and found by the next comparison.
PENDING_MAX = 100
# Resolved alarms that are remembered, because an announcement may arrive after the comparison that found the change.
ENDED_MAX = 1_000
# A difference counts only if it is still there after this time, because an announcement may be on its way.
GRACE_SECONDS = 0.3
# How often a new board is read again because changes were announced meanwhile.
LOAD_TRIES = 3


class Board:
    """The open alarms of one device, or of the fleet, as its sockets know them; at most the newest ALARMS_PER_FRAME.

    `watchers` get what is sent, `coming` are sockets that will watch it soon.
    """

    def __init__(self, found: OpenAlarms) -> None:
        self.watchers: set[Subscription] = set()
        self.coming: set[Subscription] = set()
        self.take(found)

    def take(self, found: OpenAlarms) -> None:
        self.count = found.total
        self.alarms = {alarm.id: alarm for alarm in found.newest}

    def differs(self, found: OpenAlarms) -> bool:
        there = {alarm.id: alarm.acknowledged_at for alarm in found.newest}
        return self.count != found.total or there != {alarm.id: alarm.acknowledged_at for alarm in self.alarms.values()}

    def apply(self, event: str, alarm: KnownAlarm) -> bool:
        """Takes over an announced change. Returns False if the sockets know it already."""
        before = self.alarms.get(alarm.id)
        if event == "resolved":
            if before is not None or self.count > len(self.alarms):
                self.count -= 1
            self.alarms.pop(alarm.id, None)
        elif event == "opened":
            if before is not None:
                return False
            self.count += 1
            self.alarms[alarm.id] = alarm
            if len(self.alarms) > frames.ALARMS_PER_FRAME:
                del self.alarms[min(self.alarms.values()).id]
        elif before is not None:
            if before.acknowledged_at == alarm.acknowledged_at:
                return False
            self.alarms[alarm.id] = alarm
        return True

    def frame(self) -> str:
        newest_first = sorted(self.alarms.values(), reverse=True)
        return frames.alarms((alarm.document for alarm in newest_first), open_count=self.count)

    def send(self, frame: str) -> None:
        for subscription in self.watchers:
            if subscription.sees_alarms:
                subscription.outgoing.put(frame)


class AlarmBoards:
    """The boards of a hub, by what they show."""

    def __init__(self, feed: Feed, listener: Listener) -> None:
        self.feed = feed
        self.listener = listener
        self.boards: dict[Watched, Board] = {}
        self.ended: dict[str, None] = {}
        self.heard = 0  # announcements
        self.pending: deque[dict[str, Any]] = deque(maxlen=PENDING_MAX)
        self.delivering: asyncio.Task[None] | None = None

    async def prepare(self, subscription: Subscription, watched: Watched) -> None:
        """Reads the board that the socket is going to watch, unless it is there. Raises DatabaseError, TimeoutError."""
        if not subscription.sees_alarms:
            return
        await self.listener.join(ALARMS_GROUP)
        for _ in range(LOAD_TRIES):
            if watched in self.boards:
                break
            heard = self.heard
            found = await self.ask([watched])
            if watched not in self.boards and heard == self.heard:
                self.boards[watched] = Board(found.open[watched])
        else:  # changes are announced all the time: the next comparison finds what is missing
            self.boards.setdefault(watched, Board(found.open[watched]))
        self.boards[watched].coming.add(subscription)
        await self.feed.may_flush()

    def enter(self, subscription: Subscription, watched: Watched) -> None:
        """Sends the open alarms; from now on the socket gets every change. Call `prepare` before."""
        if not subscription.sees_alarms:
            return
        board = self.boards[watched]
        board.coming.discard(subscription)
        board.watchers.add(subscription)
        subscription.outgoing.put(board.frame())
        self.listener.keep(ALARMS_GROUP)

    def leave(self, subscription: Subscription) -> None:
        for watched, board in list(self.boards.items()):
            board.watchers.discard(subscription)
            board.coming.discard(subscription)
            if not board.watchers and not board.coming:
                del self.boards[watched]
        if not self.boards:
            self.listener.leave(ALARMS_GROUP)

    def hear(self, message: dict[str, Any]) -> None:
        """Takes an announcement, as `realtime.announcing.alarms` sends it."""
        self.heard += 1
        self.pending.append(message)
        if self.delivering is None:
            self.delivering = asyncio.create_task(self.deliver())

    async def deliver(self) -> None:
        try:
            while self.pending:
                message = self.pending.popleft()
                await self.feed.may_flush(message["access_version"])
                for event, *fields in message["changes"]:
                    self.apply(event, KnownAlarm(*fields))
        finally:
            self.delivering = None

    def apply(self, event: str, alarm: KnownAlarm) -> None:
        if event != "acknowledged" and alarm.id in self.ended:
            return
        for watched, board in self.boards.items():
            if concerns(watched, alarm.device_id) and board.apply(event, alarm):
                board.send(frames.alarm(event, alarm.document, open_count=board.count))
        if event == "resolved":
            self.ended[alarm.id] = None
            if len(self.ended) > ENDED_MAX:
                del self.ended[next(iter(self.ended))]

    async def check(self) -> None:
        """Compares the boards with the database, and sends those that differ. Raises DatabaseError."""
        if not self.boards or not await self.differing(await self.compared()):
            return
        await asyncio.sleep(GRACE_SECONDS)
        found = await self.compared()
        for watched in await self.differing(found):
            board = self.boards[watched]
            board.take(found[watched])
            board.send(board.frame())

    async def compared(self) -> dict[Watched, OpenAlarms]:
        """What the database has for each board; empty if changes were announced meanwhile, so that it may be old."""
        heard = self.heard
        found = await self.ask(list(self.boards))
        return {} if heard != self.heard or self.delivering else found.open

    async def differing(self, found: dict[Watched, OpenAlarms]) -> list[Watched]:
        await self.feed.may_flush()
        boards = self.boards
        return [watched for watched, alarms in found.items() if watched in boards and boards[watched].differs(alarms)]

    async def ask(self, watched: Sequence[Watched]) -> Found:
        found = await in_database(open_alarms, watched)
        self.feed.heard = max(self.feed.heard, found.access_version)
        return found

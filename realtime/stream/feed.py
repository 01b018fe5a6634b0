"""The watched logs of a process, in order: passes on announced readings and reads missing ones.

A live frame goes from the channel layer to the sockets without a query and without a thread. The database is read
only where a message or the checker shows a gap.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from django.db import DatabaseError, InterfaceError

from devices.status import Status
from readings.log.damage import LogDamaged
from realtime.instruments import HOLES_MENDED
from realtime.protocol.endings import TRY_AGAIN_LATER, Ending, damaged
from realtime.protocol.seq_ranges import SeqRange
from realtime.stream.replays import LOGS_PER_READ, READINGS_PER_READ, Reader
from realtime.stream.revocations import Revocations
from realtime.stream.subscriptions import Subscription
from realtime.stream.watched_log import Log

logger = logging.getLogger(__name__)

REPLACED = Ending(TRY_AGAIN_LATER, "log_replaced", "This log was replaced by another one. Connect again.")

# Seconds that a new socket waits until its process has received all readings up to the end of the log.
REACH_SECONDS = 5.0
# Seconds between two attempts on a database that does not answer.
RETRY_SECONDS = 1.0
# Characters of readings that may wait for a check of credentials. It takes milliseconds, unless the database does not
# answer. Readings beyond this limit are dropped and read from the database later.
HELD_MAX = 4 * 1024 * 1024


class Feed:
    """`logs` are the watched logs by device id; `fleet` are the subscriptions to all of them.

    `heard` is the newest `AccessVersion` that came with readings. Nothing is sent before the credentials of all sockets
    were checked at that version.
    """

    def __init__(self, revocations: Revocations) -> None:
        self.revocations = revocations
        self.heard = 0
        self.held = 0  # characters
        self.releasing: asyncio.Task[None] | None = None
        self.logs: dict[str, Log] = {}
        self.fleet: set[Subscription] = set()
        self.status_in_doubt = asyncio.Event()
        self.reader = Reader()
        self.holes: set[Log] = set()
        self.dirty: set[Log] = set()
        self.mending: asyncio.Task[None] | None = None
        self.progress = asyncio.Event()

    def hear(self, message: dict[str, Any]) -> None:
        """Takes an announcement, as `realtime.announcing.receivers` sends it."""
        self.heard = max(self.heard, message.get("access_version", 0))
        log_ids, seen = message.get("logs", {}), message.get("seen", {})
        for device_id, first_seq, last_seq, documents in message["stretches"]:
            seq_range = SeqRange(device_id, first_seq, last_seq, documents, seen.get(device_id))
            log = self.logs.get(seq_range.device_id)
            log_id = log_ids.get(seq_range.device_id, "")
            if log is not None and log.is_replaced_by(log_id):
                self.replace(log)
                continue
            if log is None:
                if not self.fleet:
                    continue
                # The device was registered after the fleet's logs were listed, so its log is sent from the beginning.
                log = self.logs[seq_range.device_id] = Log(seq_range.device_id, 0, None, None, log_id)
            if log.take(seq_range):
                self.flush_soon(log)
                self.held += len(seq_range.documents)
                if self.releasing is not None:
                    self.bound_held()
            elif log.has_hole:
                self.mend_soon(log)
            if log.status != Status.ONLINE:
                self.status_in_doubt.set()

    def flush_soon(self, log: Log) -> None:
        """Schedules a flush after all messages that have arrived: under load it sends fewer, larger frames."""
        if not self.dirty:
            asyncio.get_running_loop().call_soon(self.flush)
        self.dirty.add(log)

    def flush(self) -> None:
        if self.heard > self.revocations.checked_at:
            if self.releasing is None:
                self.releasing = asyncio.create_task(self.release())
                self.bound_held()  # because many announcements can arrive before one flush
            return
        self.held = 0
        dirty, self.dirty = self.dirty, set()
        for log in dirty:
            log.flush(self.fleet)

    async def release(self) -> None:
        try:
            await self.may_flush()
        finally:
            self.releasing = None
        self.flush()

    def bound_held(self) -> None:
        """Drops readings that wait for the check if they exceed HELD_MAX; they are read from the database later."""
        if self.held > HELD_MAX:
            self.held = 0
            for log in self.dirty:
                log.give_back()
                self.mend_soon(log)

    async def may_flush(self, version: int = 0) -> None:
        """Waits until readings that were taken, or read at `version`, may be sent. Send them before the next await."""
        self.heard = max(self.heard, version)
        while (heard := self.heard) > self.revocations.checked_at:
            try:
                await self.revocations.catch_up(heard)
            except (DatabaseError, InterfaceError) as error:
                await self.wait_for_the_database(error)
                continue
            # Start over: a restored backup can have a lower version than the one heard.
            if self.heard == heard:
                self.heard = 0

    def expect(self, log: Log, last_seq: int) -> None:
        """Notes that the log has `last_seq` readings in the database; fills the gap if there is one."""
        log.expected = max(log.expected, last_seq)
        if log.has_hole:
            self.mend_soon(log)

    def mend_soon(self, log: Log) -> None:
        if log not in self.holes:
            HOLES_MENDED.inc()
        self.holes.add(log)
        if self.mending is None:
            self.mending = asyncio.create_task(self.mend())

    async def mend(self) -> None:
        """Reads what is missing in the logs with a gap, LOGS_PER_READ logs at a time, until no gap is left."""
        try:
            while self.holes:
                logs = {log.device_id: log for log in islice(self.holes, LOGS_PER_READ)}
                after = {log.device_id: log.position for log in logs.values() if log.has_hole}
                if after:
                    await self.fill(logs, after)
                await self.may_flush()
                for log in logs.values():
                    log.flush(self.fleet)
                self.holes -= {log for log in logs.values() if not log.has_hole}
                self.progress.set()
                self.progress = asyncio.Event()
        finally:
            self.mending = None

    async def fill(self, logs: Mapping[str, Log], after: Mapping[str, int]) -> None:
        """Takes the next ranges of these logs, each after its position in `after`."""
        try:
            found = await self.stored(after, until={name: logs[name].expected for name in after})
        except LogDamaged as error:
            log = logs[error.device_id]
            if not await self.fill_before(log, error):
                self.pass_over(log, error)
            return
        for seq_range, _ in found:
            logs[seq_range.device_id].take(seq_range)

    async def fill_before(self, log: Log, error: LogDamaged) -> bool:
        """Takes readings that come before the damaged ones; returns False if the log has none there."""
        limit = min(error.first_seq - 1 - log.position, READINGS_PER_READ)
        while limit > 0:
            after, until = {log.device_id: log.position}, {log.device_id: error.first_seq - 1}
            try:
                found = await self.stored(after, until=until, limit=limit)
            except LogDamaged:  # some before it were deleted, so that the last of so many readings is damaged
                limit //= 2
                continue
            for seq_range, _ in found:
                log.take(seq_range)
            return True
        return False

    def pass_over(self, log: Log, error: LogDamaged) -> None:
        """Ends the log's own sockets; those of the fleet go on after the damaged readings as after deleted ones."""
        for subscription in log.watchers:
            subscription.outgoing.end(damaged(error))
        log.take(SeqRange(log.device_id, log.position + 1, error.last_seq, ""))

    async def reach(self, ends: Iterable[tuple[Log, int]]) -> None:
        """Waits until each log has been taken up to its given end and may be flushed.

        Raises TimeoutError after REACH_SECONDS.
        """
        lacking = list(ends)
        async with asyncio.timeout(REACH_SECONDS):
            await self.may_flush()
            while lacking := [
                (log, last_seq)
                for log, last_seq in lacking
                if log.position < last_seq and self.logs.get(log.device_id) is log
            ]:
                for log, last_seq in lacking:
                    self.expect(log, last_seq)
                await self.progress.wait()
                await self.may_flush()

    async def stored(
        self, after: Mapping[str, int], *, until: Mapping[str, int], limit: int = READINGS_PER_READ
    ) -> list[tuple[SeqRange, str]]:
        """The ranges of `Reader.read`, when they may be sent; an empty list, after a pause, if the database fails."""
        try:
            found = await self.reader.read(after, until=until, limit=limit)
        except (DatabaseError, InterfaceError) as error:
            await self.wait_for_the_database(error)
            return []
        await self.may_flush(found.access_version)
        return found.seq_ranges

    async def wait_for_the_database(self, error: Exception) -> None:
        logger.warning("Live sockets wait for the database (%s)", str(error).strip())
        await asyncio.sleep(RETRY_SECONDS)

    def replace(self, log: Log) -> None:
        """Ends the sockets of a log that is no longer the same: its device was erased, or the database restored."""
        logger.warning(
            "The log of %s was replaced by another one: its sockets are closed",
            log.device_id,
        )
        self.forget(log)
        for subscription in self.audience(log):
            if subscription.sees(log.device_id):
                subscription.outgoing.end(REPLACED)

    def forget(self, log: Log) -> None:
        if self.logs.get(log.device_id) is log:
            del self.logs[log.device_id]
        self.holes.discard(log)

    def audience(self, log: Log) -> Collection[Subscription]:
        return log.watchers | self.fleet

"""The watched logs of a process, in order: what is announced is handed on, what is missing is read.

A live frame goes from the channel layer to the sockets without a query or a thread. The database is asked where a
message shows a hole, and where the checker has found one.
"""

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Any

from django.db import DatabaseError, InterfaceError

from devices.status import Status
from realtime.instruments import HOLES_MENDED
from realtime.logs import Log
from realtime.replays import LOGS_PER_READ, Reader, Stored
from realtime.stretches import Stretch
from realtime.subscriptions import Subscription

logger = logging.getLogger(__name__)

# How long a new socket waits for what its process has missed.
REACH_SECONDS = 5.0
# Between two tries of a database that is away.
RETRY_SECONDS = 1.0


class Stream:
    """`logs` by device id; `fleet` are those who watch all of them."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.fleet: set[Subscription] = set()
        self.status_in_doubt = asyncio.Event()
        self.reader = Reader()
        self.holes: set[Log] = set()
        self.dirty: set[Log] = set()
        self.mending: asyncio.Task[None] | None = None
        self.progress = asyncio.Event()

    def hear(self, message: dict[str, Any]) -> None:
        """An announcement of `realtime.receivers`."""
        for values in message["stretches"]:
            stretch = Stretch(*values)
            log = self.logs.get(stretch.device_id)
            if log is None:
                if not self.fleet:
                    continue
                # Registered since the fleet's logs were listed, so it is watched from its beginning.
                log = self.logs[stretch.device_id] = Log(stretch.device_id, 0, None)
            if log.take(stretch):
                self.flush_soon(log)
            elif log.has_hole:
                self.mend_soon(log)
            if log.status != Status.ONLINE:
                self.status_in_doubt.set()

    def flush_soon(self, log: Log) -> None:
        """Hands out what was taken once all that has arrived is taken: under load in fewer, larger frames."""
        if not self.dirty:
            asyncio.get_running_loop().call_soon(self.flush)
        self.dirty.add(log)

    def flush(self) -> None:
        dirty, self.dirty = self.dirty, set()
        for log in dirty:
            log.flush(self.fleet)

    def expect(self, log: Log, last_seq: int) -> None:
        """The database has the log so long."""
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
        """Reads what the logs with a hole lack, many of them at a time, until they have none."""
        try:
            while self.holes:
                logs = {log.device_id: log for log in islice(self.holes, LOGS_PER_READ)}
                after = {log.device_id: log.position for log in logs.values() if log.has_hole}
                if after:
                    for stretch, _ in await self.stored(after, until={name: logs[name].expected for name in after}):
                        logs[stretch.device_id].take(stretch)
                for log in logs.values():
                    log.flush(self.fleet)
                self.holes -= {log for log in logs.values() if not log.has_hole}
                self.progress.set()
                self.progress = asyncio.Event()
        finally:
            self.mending = None

    async def reach(self, ends: Iterable[tuple[Log, int]]) -> None:
        """Waits until each log has been taken up to its end. Raises TimeoutError."""
        async with asyncio.timeout(REACH_SECONDS):
            for log, last_seq in ends:
                while log.position < last_seq and self.logs.get(log.device_id) is log:
                    self.expect(log, last_seq)
                    await self.progress.wait()

    async def stored(self, after: Mapping[str, int], *, until: Mapping[str, int]) -> Stored:
        """As `Reader.read`; where the database is away, nothing, a moment later."""
        try:
            return await self.reader.read(after, until=until)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Live sockets wait for the database (%s)", str(error).strip())
            await asyncio.sleep(RETRY_SECONDS)
            return []

    def forget(self, log: Log) -> None:
        self.logs.pop(log.device_id, None)
        self.holes.discard(log)

    def audience(self, log: Log) -> Collection[Subscription]:
        return log.watchers | self.fleet

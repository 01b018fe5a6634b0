"""Reads logs from the database; sockets of a process that need the same part at the same time share one read."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from devices.models import AccessVersion
from readings.log import reader
from readings.log.entries import StoredReading
from realtime.database import in_database
from realtime.protocol.seq_ranges import SeqRange, cut

# The largest number of readings, and of logs, in one query.
READINGS_PER_READ = 1_000
LOGS_PER_READ = 100


class Stored(NamedTuple):
    """Ranges with their frames, and the number of revocations committed before them (`access_version`)."""

    seq_ranges: list[tuple[SeqRange, str]]
    access_version: int


class Reader:
    """Reads logs; a caller that asks for a part that is being read waits for that read."""

    def __init__(self) -> None:
        self.under_way: dict[tuple[frozenset[tuple[str, int]], int], asyncio.Task[Stored]] = {}

    async def read(
        self, after: Mapping[str, int], *, until: Mapping[str, int], limit: int = READINGS_PER_READ
    ) -> Stored:
        """The next ranges of these logs, each after its position in `after`; at most `limit` readings in all.

        `until` is the known length of each log: readings that are missing up to it were deleted. Raises DatabaseError
        and LogDamaged.
        """
        key = frozenset(after.items()), limit
        task = self.under_way.get(key)
        if task is None:
            task = self.under_way[key] = asyncio.create_task(stored(after, until, limit))
            task.add_done_callback(lambda _: self.under_way.pop(key))
        return await asyncio.shield(task)


async def stored(after: Mapping[str, int], until: Mapping[str, int], limit: int) -> Stored:
    return await in_database(read, after, until, limit)


def read(after: Mapping[str, int], until: Mapping[str, int], limit: int = READINGS_PER_READ) -> Stored:
    entries = reader.logs_after(after, limit=limit)
    logs: dict[str, list[StoredReading]] = {}
    for entry in entries:
        logs.setdefault(entry.device_id, []).append(entry)
    whole = len(entries) < limit
    seq_ranges = [
        seq_range
        for device_id, position in after.items()
        for seq_range in cut(
            device_id, logs.get(device_id, []), after=position, until=until[device_id] if whole else None
        )
    ]
    return Stored([(seq_range, seq_range.frame()) for seq_range in seq_ranges], AccessVersion.objects.current())

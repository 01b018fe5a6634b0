"""What is stored of logs, read and encoded once for all sockets of a process that need it at the same time."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple

from devices.models import AccessVersion
from readings.log.entries import StoredReading
from readings.models import Reading
from realtime.database import in_database
from realtime.protocol.seq_ranges import SeqRange, cut

# Readings of one query, and the logs it may ask about.
READINGS_PER_READ = 1_000
LOGS_PER_READ = 100


class Stored(NamedTuple):
    """Ranges with their frames; the revocations committed before them are counted by `access_version`."""

    seq_ranges: list[tuple[SeqRange, str]]
    access_version: int


class Reader:
    """Whoever asks for what is being read already waits for that."""

    def __init__(self) -> None:
        self.under_way: dict[frozenset[tuple[str, int]], asyncio.Task[Stored]] = {}

    async def read(self, after: Mapping[str, int], *, until: Mapping[str, int]) -> Stored:
        """The next ranges of these logs, each behind its position and with its frame, READINGS_PER_READ in all.

        `until`: how long each log is known to be; what is not there up to it has been deleted. Raises DatabaseError.
        """
        key = frozenset(after.items())
        task = self.under_way.get(key)
        if task is None:
            task = self.under_way[key] = asyncio.create_task(stored(after, until))
            task.add_done_callback(lambda _: self.under_way.pop(key))
        return await asyncio.shield(task)


async def stored(after: Mapping[str, int], until: Mapping[str, int]) -> Stored:
    return await in_database(read, after, until)


def read(after: Mapping[str, int], until: Mapping[str, int]) -> Stored:
    entries = Reading.objects.logs_after(after, limit=READINGS_PER_READ)
    logs: dict[str, list[StoredReading]] = {}
    for entry in entries:
        logs.setdefault(entry.device_id, []).append(entry)
    whole = len(entries) < READINGS_PER_READ
    seq_ranges = [
        seq_range
        for device_id, position in after.items()
        for seq_range in cut(
            device_id, logs.get(device_id, []), after=position, until=until[device_id] if whole else None
        )
    ]
    return Stored([(seq_range, seq_range.frame()) for seq_range in seq_ranges], AccessVersion.objects.current())

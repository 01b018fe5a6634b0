"""Seals old rollups: a step moves those of a device in a block of time from rows to blocks, in one transaction."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

import msgspec
from django.db import connection, transaction

from readings.log.reading.rows import moment
from readings.models import RollupBlock
from readings.statistics.planning import block_start
from readings.statistics.tiers import Tier
from readings.upkeep.failures import concerns_whole_database
from readings.upkeep.passes import IdRange, Rotation
from readings.upkeep.sealing.stored_blocks import aware, block_of, insert, take, to_rows

PAGE_DEVICES = 500
# How long after its end a block is sealed, because a late reading in it turns it back into rows. Most are not later.
WAIT = timedelta(days=7)

DEVICES = """
SELECT device_id FROM devices_devicestate AS state
WHERE device_id > %s {until} AND EXISTS (
    SELECT 1 FROM readings_rollup WHERE device_id = state.device_id AND seconds = %s AND start < %s
)
ORDER BY device_id LIMIT %s
"""
OLDEST = "SELECT min(start) FROM readings_rollup WHERE device_id = %s AND seconds = %s"


class SealableRollups(msgspec.Struct, frozen=True):
    """Rollups of a device that begin before `until`, the end of a block."""

    device_id: str
    tier: Tier
    until: datetime


def seal_rollups(
    tier: Tier,
    *,
    before: datetime,
    now: datetime,
    rotation: Rotation,
    failed: Callable[[SealableRollups, Exception], None],
) -> Iterator[int]:
    """Seals the blocks that ended before `before`, and WAIT before `now`; yields the number of rollups of each step.

    `failed` is called for a device whose step fails; the rest of the device is left out. It may be stopped between two
    steps. Raises DatabaseError if the whole database is concerned.
    """
    until = block_start(min(before, now - WAIT), tier)
    for ids in rotation.ranges():
        while page := devices(tier, until, IdRange(rotation.position or "", ids.until)):
            for device_id in page:
                rotation.position = device_id
                sealable = SealableRollups(device_id, tier, until)
                try:
                    while sealed := seal_next(sealable):
                        yield sealed
                except Exception as error:
                    if concerns_whole_database(error):
                        raise
                    failed(sealable, error)


def devices(tier: Tier, until: datetime, ids: IdRange) -> list[str]:
    """The first devices in `ids` that have rollups before `until`, by id."""
    bounds = [ids.after] if ids.until is None else [ids.after, ids.until]
    condition = "" if ids.until is None else "AND device_id <= %s"
    with connection.cursor() as cursor:
        cursor.execute(DEVICES.format(until=condition), [*bounds, tier.seconds, moment(until), PAGE_DEVICES])
        return [device_id for (device_id,) in cursor.fetchall()]


def seal_next(sealable: SealableRollups) -> int:
    """Seals the oldest block that has rows; returns the number of rollups, 0 if none is left.

    Raises NotAsEncoded, StatisticsDamaged and DatabaseError; after each of them nothing was changed.
    """
    device_id, tier = sealable.device_id, sealable.tier
    with connection.cursor() as cursor:
        cursor.execute(OLDEST, [device_id, tier.seconds])
        oldest = cursor.fetchone()[0]
    if oldest is None or (start := block_start(aware(oldest), tier)) >= sealable.until:
        return 0
    with transaction.atomic(durable=True):
        # There is none, unless two processes have maintained the database at the same time.
        to_rows(RollupBlock.objects.filter(device_id=device_id, seconds=tier.seconds, start=start))
        rollups = take(device_id, tier, start)
        of_metrics = groupby(sorted(rollups, key=attrgetter("metric", "start")), attrgetter("metric"))
        insert([block_of(device_id, tier, start, metric, list(rows)) for metric, rows in of_metrics])
    return len(rollups)

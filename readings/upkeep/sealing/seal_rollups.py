"""Seals old rollups: a step moves those of a device in a block of time from rows to blocks, in one transaction."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

import msgspec
from django.db import connection, transaction

from readings.log.damage import StatisticsDamaged
from readings.log.reading.rows import moment
from readings.statistics.buckets import EPOCH
from readings.statistics.planning import block_start
from readings.statistics.tiers import Tier
from readings.upkeep.failures import concerns_whole_database
from readings.upkeep.passes import IdRange, Rotation
from readings.upkeep.sealing.stored_blocks import aware, beside_rows, block_of, insert, take_all, to_rows

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
OLDEST = "SELECT min(start) FROM readings_rollup WHERE device_id = %s AND seconds = %s AND start >= %s"


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
                    yield from seal_device(sealable)
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


def seal_device(sealable: SealableRollups) -> Iterator[int]:
    """Seals one block of time after the other, from the oldest on; yields the number of rollups of each.

    Raises NotAsEncoded and DatabaseError; after each of them the block was not changed. Raises StatisticsDamaged at the
    end if rollups lie beside a damaged block of their metric: they stay rows.
    """
    damaged: StatisticsDamaged | None = None
    since = EPOCH
    while (start := oldest_block(sealable, since)) is not None:
        sealed, error = seal_block(sealable, start)
        yield sealed
        damaged = error or damaged
        since = start + sealable.tier.block
    if damaged:
        raise damaged


def oldest_block(sealable: SealableRollups, since: datetime) -> datetime | None:
    """The start of the first block of time from `since` on that has rows and can be sealed."""
    with connection.cursor() as cursor:
        cursor.execute(OLDEST, [sealable.device_id, sealable.tier.seconds, moment(since)])
        oldest = cursor.fetchone()[0]
    start = block_start(aware(oldest), sealable.tier) if oldest else sealable.until
    return start if start < sealable.until else None


def seal_block(sealable: SealableRollups, start: datetime) -> tuple[int, StatisticsDamaged | None]:
    """Seals the rows of a block of time; returns how many, and what is wrong with a block beside which some stay."""
    device_id, tier = sealable.device_id, sealable.tier
    damaged: dict[str, StatisticsDamaged] = {}
    with transaction.atomic(durable=True):
        # There are some if they are damaged, or if two processes have maintained the database at the same time.
        for block in beside_rows(device_id, tier, start):
            try:
                to_rows([block])
            except StatisticsDamaged as error:
                damaged[block.metric] = error
        rollups = take_all(device_id, tier, start, without=damaged)
        of_metrics = groupby(sorted(rollups, key=attrgetter("metric", "start")), attrgetter("metric"))
        insert([block_of(device_id, tier, start, metric, list(rows)) for metric, rows in of_metrics])
    return len(rollups), next(iter(damaged.values()), None)

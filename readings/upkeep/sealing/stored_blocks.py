"""Blocks of rollups in the database: makes them of rows, and turns them back into rows.

The rollups of a block and metric are either rows or sealed. Rows are deleted by the statement that reads them, so what
is sealed is what was deleted.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from django.db import connection

from devices.database import placement
from readings.log.damage import StatisticsDamaged
from readings.log.reading.rows import moment
from readings.log.segments.rollup_block import decode, encode
from readings.models import Rollup as Row
from readings.models import RollupBlock
from readings.statistics.buckets import EPOCH
from readings.statistics.planning import block_start
from readings.statistics.sealed_rollups import opened
from readings.statistics.tiers import HOURS, MINUTES, Tier
from readings.upkeep.failures import Outrun
from readings.upkeep.sealing.statistics import Rollup, add_rollups
from readings.upkeep.sealing.stored_segments import NotAsEncoded

# Inserted by one statement.
CHUNK_BLOCKS = 100
# Turned into rows by one step of more than one reading: about a second, in which nobody can post on SQLite.
UNSEALED_AT_ONCE = {"postgresql": 2_000, "sqlite": 250}
TIERS = {tier.seconds: tier for tier in (HOURS, MINUTES)}

TAKE = """
DELETE FROM readings_rollup WHERE device_id = %s AND seconds = %s AND start >= %s AND start < %s {metric}
RETURNING start, metric, count, sum, min, max
"""
# Blocks from `since` of each device on, of which a rollup is a row. OFFSET 0 prevents a hash join of whole tables.
MIXED = """
SELECT block.device_id, block.start, block.metric, block.data
FROM unnest(%s::text[], %s::timestamptz[]) AS asked(device_id, since) CROSS JOIN LATERAL (
    SELECT * FROM readings_rollupblock
    WHERE device_id = asked.device_id AND seconds = %s AND start >= asked.since{blocks} OFFSET 0
) AS block
WHERE EXISTS (
    SELECT 1 FROM readings_rollup AS rollup
    WHERE rollup.device_id = block.device_id AND rollup.seconds = block.seconds AND rollup.metric = block.metric
      AND rollup.start >= block.start AND rollup.start < block.start + interval '{seconds} seconds'{rollups} OFFSET 0
)
"""
MIXED_SQLITE = """
SELECT block.device_id, block.start, block.metric, block.data
FROM json_each(%s) AS asked CROSS JOIN readings_rollupblock AS block
WHERE block.device_id = json_extract(asked.value, '$[0]') AND block.seconds = %s
  AND block.start >= json_extract(asked.value, '$[1]') AND EXISTS (
    SELECT 1 FROM readings_rollup AS rollup
    WHERE rollup.device_id = block.device_id AND rollup.seconds = block.seconds AND rollup.metric = block.metric
      AND rollup.start >= block.start AND rollup.start < datetime(block.start, '+{seconds} seconds')
)
"""


class TooManyBlocks(Exception):
    """A step that can be divided would turn more than UNSEALED_AT_ONCE blocks into rows; nothing was changed."""


def block_of(device_id: str, tier: Tier, start: datetime, metric: str, rollups: Sequence[Rollup]) -> RollupBlock:
    """These rollups, by time, as a block that is not stored yet; decoded again and compared. Raises NotAsEncoded."""
    width = tier.width
    rows = [((one.start - EPOCH) // width, one.count, one.sum, one.min, one.max) for one in rollups]
    block = RollupBlock(device_id=device_id, seconds=tier.seconds, start=start, metric=metric, data=encode(rows))
    # As bytes, because 0.0 equals -0.0.
    if msgspec.msgpack.encode(list(decode(bytes(block.data)).rollups())) != msgspec.msgpack.encode(rows):
        raise NotAsEncoded(f"The rollups of {metric} from {start} do not come back as they were.")
    return block


def insert(blocks: Sequence[RollupBlock]) -> None:
    """Stores blocks of a device and time and reads them back, within the caller's transaction. Raises NotAsEncoded."""
    for begin in range(0, len(blocks), CHUNK_BLOCKS):
        part = {block.metric: block for block in blocks[begin : begin + CHUNK_BLOCKS]}
        RollupBlock.objects.bulk_create(part.values())
        first = blocks[begin]
        rows = RollupBlock.objects.filter(device_id=first.device_id, seconds=first.seconds, start=first.start)
        stored = dict(rows.filter(metric__in=list(part)).values_list("metric", "data"))
        if {metric: bytes(data) for metric, data in stored.items()} != {name: one.data for name, one in part.items()}:
            raise NotAsEncoded(f"The database changed the rollups of {first.device_id} from {first.start}.")


def take(device_id: str, tier: Tier, start: datetime, metric: str) -> list[Rollup]:
    """Deletes the rollups of a metric in a block of time, and returns them in any order."""
    return taken(device_id, tier, start, "AND metric = %s", [metric])


def take_all(device_id: str, tier: Tier, start: datetime, *, without: Collection[str]) -> list[Rollup]:
    """Deletes the rollups in a block of time, but for these metrics, and returns them in any order."""
    names = f"AND metric NOT IN ({', '.join(['%s'] * len(without))})" if without else ""
    return taken(device_id, tier, start, names, without)


def taken(device_id: str, tier: Tier, start: datetime, condition: str, names: Iterable[str]) -> list[Rollup]:
    parameters = [device_id, tier.seconds, moment(start), moment(start + tier.block), *names]
    with connection.cursor() as cursor:
        cursor.execute(TAKE.format(metric=condition), parameters)
        return [Rollup(aware(begins), *figures) for begins, *figures in cursor.fetchall()]


def rollups_of(block: RollupBlock) -> list[Rollup]:
    """The rollups of a block, by time. Raises StatisticsDamaged."""
    tier = TIERS[block.seconds]
    columns = opened(block.device_id, tier, block.metric, block.start, block.data)
    return [
        Rollup(EPOCH + start * tier.width, block.metric, count, total, smallest, largest)
        for start, count, total, smallest, largest in columns.rollups()
    ]


def to_rows(blocks: Iterable[RollupBlock]) -> int:
    """Turns sealed rollups back into rows, within the caller's transaction; returns the number of rollups.

    A rollup that is a row too is added to the sealed one, as if this had never been sealed. Raises StatisticsDamaged,
    which changed nothing of the block, and Outrun.
    """
    count = 0
    for block in blocks:
        device_id, tier = block.device_id, TIERS[block.seconds]
        rollups = rollups_of(block)
        # Before its rollups are added, because another process may have added them.
        if RollupBlock.objects.filter(pk=block.pk).delete()[0] != 1:
            raise Outrun
        newer = take(device_id, tier, block.start, block.metric)
        add_rollups(device_id, tier, rollups)
        add_rollups(device_id, tier, newer)
        count += len(rollups)
    return count


def unseal_mixed(tier: Tier, since: Mapping[str, datetime], *, divisible: bool) -> int:
    """Turns blocks back into rows to which late readings were added; returns the number of rollups.

    Within the transaction that added them. `since`: by device, the time of the first rollup to which it added. Damaged
    blocks stay, and the rows beside them. `divisible`: a step can add fewer readings. Raises TooManyBlocks only then,
    and Outrun.
    """
    found: list[RollupBlock] = []
    for device_ids in placement.ids_in_groups(list(since)):
        found += mixed(tier, {device_id: block_start(since[device_id], tier) for device_id in device_ids})
    if divisible and len(found) > UNSEALED_AT_ONCE[connection.vendor]:
        raise TooManyBlocks
    count = 0
    for block in found:
        with suppress(StatisticsDamaged):
            count += to_rows([block])
    return count


def beside_rows(device_id: str, tier: Tier, start: datetime) -> list[RollupBlock]:
    """The blocks of the device with this start whose metric has rollups that are rows too."""
    rows = Row.objects.filter(device_id=device_id, seconds=tier.seconds)
    names = rows.filter(start__gte=start, start__lt=start + tier.block).values("metric")
    blocks = RollupBlock.objects.filter(device_id=device_id, seconds=tier.seconds, start=start, metric__in=names)
    return list(blocks)


def mixed(tier: Tier, since: Mapping[str, datetime]) -> list[RollupBlock]:
    """The blocks of these devices, from a time of each on, of which a rollup is a row too."""
    seconds = int(tier.block.total_seconds())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            # Of both tables, because Citus finds the shard of a statement by constants for each.
            blocks, their_ids = placement.condition("device_id", list(since))
            rollups, same_ids = placement.condition("rollup.device_id", list(since))
            parameters = [list(since), list(since.values()), tier.seconds, *their_ids, *same_ids]
            cursor.execute(MIXED.format(seconds=seconds, blocks=blocks, rollups=rollups), parameters)
        else:
            asked = [(device_id, moment(start)) for device_id, start in since.items()]
            cursor.execute(MIXED_SQLITE.format(seconds=seconds), [msgspec.json.encode(asked).decode(), tier.seconds])
        return [
            RollupBlock(device_id=device_id, seconds=tier.seconds, start=aware(start), metric=metric, data=data)
            for device_id, start, metric, data in cursor.fetchall()
        ]


def count_sealed(device_id: str) -> int:
    """The number of sealed rollups of the device, but for those of damaged blocks. Decodes all of them."""
    count = 0
    for block in RollupBlock.objects.filter(device_id=device_id).iterator(CHUNK_BLOCKS):
        with suppress(StatisticsDamaged):
            count += len(rollups_of(block))
    return count


def aware(value: datetime | str) -> datetime:
    """SQLite returns times without a time zone, or as texts."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at if at.tzinfo else at.replace(tzinfo=UTC)

"""Verifies the blocks of rollups of a device: checksums, times, and that no rollup of theirs is a row too."""

from collections.abc import Iterator
from itertools import islice

from readings.log.damage import StatisticsDamaged
from readings.models import Rollup, RollupBlock
from readings.upkeep.sealing.stored_blocks import TIERS, rollups_of
from readings.upkeep.verification.database import LISTED

PAGE_BLOCKS = 200


def block_faults(device_id: str) -> Iterator[str]:
    """What is wrong with the blocks of the device, one text each, at most LISTED."""
    faults = (f"the statistics of {at} {fault}" for at, fault in wrong_blocks(device_id))
    yield from islice(faults, LISTED)


def wrong_blocks(device_id: str) -> Iterator[tuple[str, str]]:
    blocks = RollupBlock.objects.filter(device_id=device_id).order_by("seconds", "start", "metric")
    for block in blocks.iterator(PAGE_BLOCKS):
        tier = TIERS[block.seconds]
        end = block.start + tier.block
        name = f"{block.metric} in the {tier.unit}s from {block.start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        try:
            starts = [rollup.start for rollup in rollups_of(block)]
        except StatisticsDamaged as error:
            yield name, f"are damaged: {error.__cause__}"
            continue
        if starts[0] < block.start or starts[-1] >= end or starts != sorted(set(starts)):
            yield name, "are of other times than their block"
        rows = Rollup.objects.filter(device_id=device_id, seconds=block.seconds, metric=block.metric)
        if rows.filter(start__gte=block.start, start__lt=end).exists():
            yield name, "are sealed and rows"

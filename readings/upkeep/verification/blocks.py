"""Verifies the blocks of rollups of a device: checksums, times, and that no rollup of theirs is a row too."""

from collections.abc import Iterator
from itertools import islice

from django.db.models import DateTimeField, Exists, ExpressionWrapper, OuterRef, QuerySet, Value

from readings.log.damage import StatisticsDamaged
from readings.models import Rollup, RollupBlock
from readings.statistics.tiers import Tier
from readings.upkeep.sealing.stored_blocks import TIERS, rollups_of
from readings.upkeep.verification.database import LISTED

PAGE_BLOCKS = 200


def block_faults(device_id: str) -> Iterator[str]:
    """What is wrong with the blocks of the device, one text each, at most LISTED."""
    faults = (f"the statistics of {at} {fault}" for at, fault in wrong_blocks(device_id))
    yield from islice(faults, LISTED)


def wrong_blocks(device_id: str) -> Iterator[tuple[str, str]]:
    for seconds, tier in sorted(TIERS.items()):
        blocks = RollupBlock.objects.filter(device_id=device_id, seconds=seconds).order_by("start", "metric")
        # By the same statement, because maintenance can turn a block into rows meanwhile.
        for block in blocks.annotate(is_rows=Exists(rows_beside(device_id, tier))).iterator(PAGE_BLOCKS):
            end = block.start + tier.block
            name = f"{block.metric} in the {tier.unit}s from {block.start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
            try:
                starts = [rollup.start for rollup in rollups_of(block)]
            except StatisticsDamaged as error:
                yield name, f"are damaged: {error.__cause__}"
                continue
            if starts[0] < block.start or starts[-1] >= end or starts != sorted(set(starts)):
                yield name, "are of other times than their block"
            if block.is_rows:
                yield name, "are sealed and rows"


def rows_beside(device_id: str, tier: Tier) -> QuerySet[Rollup]:
    """The rows of the metric and time of a block, for a query of blocks."""
    end = ExpressionWrapper(OuterRef("start") + Value(tier.block), DateTimeField())
    rows = Rollup.objects.filter(device_id=device_id, seconds=tier.seconds, metric=OuterRef("metric"))
    return rows.filter(start__gte=OuterRef("start"), start__lt=end)

"""Seals the rollups of tests without waiting, and damages blocks of them."""

from datetime import timedelta

from readings.models import RollupBlock
from readings.statistics.tiers import HOURS, MINUTES
from readings.tests.logs import NOON
from readings.tests.upkeep.sealing.logs import raising
from readings.upkeep.passes import Rotation
from readings.upkeep.sealing.seal_rollups import seal_rollups

LATER = NOON + timedelta(days=400)


def seal_all(*, now=LATER, failed=raising):
    """Seals what is old enough; returns the number of rollups."""
    return sum(
        sum(seal_rollups(tier, before=now, now=now, rotation=Rotation(), failed=failed)) for tier in (HOURS, MINUTES)
    )


def damage(block):
    """A trigger refuses UPDATE."""
    values = {field.attname: getattr(block, field.attname) for field in block._meta.concrete_fields}
    values["data"] = bytes(block.data[:-1]) + bytes((block.data[-1] ^ 1,))
    block.delete()
    RollupBlock.objects.bulk_create([RollupBlock(**values)])

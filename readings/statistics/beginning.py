"""When the statistics of a device begin."""

from datetime import datetime, timedelta

from devices.models import DeviceState
from readings.log import reader
from readings.log.damage import StatisticsDamaged
from readings.models import Rollup, RollupBlock
from readings.statistics.buckets import EPOCH
from readings.statistics.planning import floor
from readings.statistics.sealed_rollups import opened
from readings.statistics.tiers import HOURS


def earliest(state: DeviceState) -> datetime | None:
    """The start of a device's statistics: the time of its oldest reading or, if retention deleted older readings, the
    oldest hour in the rollups. None if the device has no readings."""
    reading = reader.oldest_at(state.device_id)
    if reading is None or state.raw_from is None:
        return reading
    oldest = Rollup.objects.filter(device_id=state.device_id, seconds=HOURS.seconds).order_by("start")
    rows = oldest.values_list("start", flat=True)[:1]
    # The rows before, because they can be sealed meanwhile, and after, because a block can become rows.
    hours = [*rows.all(), *sealed_hours(state.device_id), *rows.all()]
    return min((hour for hour in hours if hour < floor(reading, HOURS)), default=reading)


def sealed_hours(device_id: str) -> list[datetime]:
    """The first hour of each metric in the oldest blocks of the device; of a damaged one, the start of the block."""
    blocks = RollupBlock.objects.filter(device_id=device_id, seconds=HOURS.seconds)
    oldest = blocks.order_by("start").values("start")[:1]
    hours = []
    for start, metric, data in blocks.filter(start=oldest).values_list("start", "metric", "data"):
        try:
            hours.append(EPOCH + timedelta(hours=opened(device_id, HOURS, metric, start, data).starts[0]))
        except StatisticsDamaged:
            hours.append(start)
    return hours

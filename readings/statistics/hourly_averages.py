"""Hourly averages of one metric for many devices, for small charts."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import QuerySet

from readings.models import Rollup
from readings.statistics.averages import average
from readings.statistics.tiers import HOURS


def hourly_averages(
    device_ids: Sequence[str], *, metric: str, start: datetime, hours: int
) -> dict[str, list[float | None]]:
    """The averages of `hours` hours from `start`, a whole hour, by device id; None for an hour without values.

    One query of the hourly rollups. Readings that maintenance has not rolled up yet (usually those of some seconds) are
    not included, and those of more than seven days ago, which may be sealed. Devices without values are left out.
    """
    lines: dict[str, list[float | None]] = {}
    rollups: QuerySet[Any] = Rollup.objects.filter(
        device_id__in=device_ids,
        seconds=HOURS.seconds,
        start__gte=start,
        start__lt=start + timedelta(hours=hours),
        metric=metric,
    )
    for device_id, begins, *figures in rollups.values_list("device_id", "start", "count", "sum", "min", "max"):
        line = lines.setdefault(device_id, [None] * hours)
        line[round((begins - start) / timedelta(hours=1))] = average(*figures)
    return lines

"""Retention: deletes readings that are older than a device's days, by small chunks. Hourly rollups stay.

First the device's `raw_from` is moved and committed, then readings from before it go. So whoever sees a reading
missing sees a `raw_from` behind it too, and asks the hourly rollups instead.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from devices.models import Device, DeviceState
from readings.rollups import HOURS, MINUTES
from readings.spans import floor

CHUNK_ROWS = 5_000
PAGE_DEVICES = 500

# The latest reading stays, whatever its age: a device that has fallen silent still shows its last values.
EXPIRED = """
FROM readings_reading WHERE device_id = %s AND timestamp < %s
AND seq <= (SELECT rolled_up_seq FROM devices_devicestate WHERE device_id = %s)
AND seq <> (SELECT coalesce(latest_seq, 0) FROM devices_devicestate WHERE device_id = %s)
"""
DELETE_READINGS = f"""
DELETE FROM readings_reading
WHERE device_id = %s AND seq IN (SELECT seq {EXPIRED} ORDER BY timestamp LIMIT {CHUNK_ROWS})
"""
DELETE_MINUTES = f"""
DELETE FROM readings_rollup WHERE device_id = %s AND seconds = {MINUTES.seconds} AND start IN (
    SELECT start FROM readings_rollup WHERE device_id = %s AND seconds = {MINUTES.seconds} AND start < %s
    ORDER BY start LIMIT {CHUNK_ROWS}
)
"""


class Expiry(msgspec.Struct, frozen=True):
    """Readings of this device from before `border`, a whole hour, are older than its `days`."""

    device_id: str
    days: int
    border: datetime

    @property
    def parameters(self) -> list[Any]:
        """EXPIRED's."""
        border = connection.ops.adapt_datetimefield_value(self.border)
        return [self.device_id, border, self.device_id, self.device_id]

    def count(self) -> int:
        """How many readings would go."""
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) {EXPIRED}", self.parameters)
            return int(cursor.fetchone()[0])


def expiries(*, now: datetime) -> Iterator[list[Expiry]]:
    """Devices that have a retention and whose border is not where it should be by now, some hundreds at a time."""
    after = ""
    while page := list(
        Device.objects.select_related("state").filter(device_id__gt=after).order_by("device_id")[:PAGE_DEVICES]
    ):
        after = page[-1].device_id
        found = []
        for device in page:
            days = settings.RETENTION_DAYS if device.retention_days is None else device.retention_days
            border = floor(now - timedelta(days=days), HOURS)
            if days and (device.state.raw_from is None or device.state.raw_from < border):
                found.append(Expiry(device.device_id, days, border))
        yield found


def expire(*, now: datetime) -> Iterator[int]:
    """Deletes what is too old, and yields how many readings each chunk had; whoever stops between chunks loses nothing.

    Never a reading that is in no hourly rollup yet, nor a device's latest. What was left goes with the next hour.
    """
    for page in expiries(now=now):
        move_borders(page)
        for expiry in page:
            yield from deletions(expiry)


def move_borders(page: Iterable[Expiry]) -> None:
    by_border: dict[datetime, list[str]] = defaultdict(list)
    for expiry in page:
        by_border[expiry.border].append(expiry.device_id)
    for border, device_ids in by_border.items():
        with transaction.atomic(durable=True):
            DeviceState.objects.lock(device_ids)
            earlier = Q(raw_from=None) | Q(raw_from__lt=border)
            DeviceState.objects.filter(earlier, device_id__in=device_ids).update(raw_from=border)


def deletions(expiry: Expiry) -> Iterator[int]:
    """A chunk, a transaction. Its rollups of minutes go too: nobody asks them for what lies before `raw_from`."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute(DELETE_READINGS, [expiry.device_id, *expiry.parameters])
            count = cursor.rowcount
            if count:
                yield count
            if count < CHUNK_ROWS:
                break
        while True:
            cursor.execute(DELETE_MINUTES, [expiry.device_id, expiry.device_id, expiry.parameters[1]])
            if cursor.rowcount < CHUNK_ROWS:
                return

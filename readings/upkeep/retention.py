"""Retention: deletes readings in small chunks. Hourly rollups stay.

Deleted are readings older than the retention days of a device, and the oldest ones if all take more than RETENTION_GB.

The device's `raw_from` is moved and committed first; then readings before it are deleted. So a query that could miss a
deleted reading always sees a later `raw_from`, and uses the hourly rollups instead.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from devices.models import Device, DeviceState
from devices.plurals import counted
from readings.statistics.planning import floor
from readings.statistics.tiers import HOURS, MINUTES
from readings.upkeep.failures import concerns_whole_database, each_apart
from readings.upkeep.passes import IdRange, Rotation
from readings.upkeep.rollups import limit_lock_wait
from readings.upkeep.sealing.expiry import count_expired, delete_expired
from readings.upkeep.sealing.size_limit import size_border

CHUNK_ROWS = 5_000
# Of minutes, about 1 KB each.
CHUNK_BLOCKS = 500
PAGE_DEVICES = 500

# The latest reading stays at any age, so that a device that no longer reports still shows its last values.
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
# A block that reaches over the border stays, because queries do not use minutes before `raw_from`.
DELETE_BLOCKS = f"""
DELETE FROM readings_rollupblock WHERE device_id = %s AND seconds = {MINUTES.seconds} AND start IN (
    SELECT start FROM readings_rollupblock WHERE device_id = %s AND seconds = {MINUTES.seconds} AND start <= %s
    ORDER BY start LIMIT {CHUNK_BLOCKS}
)
"""


class Expiry(msgspec.Struct, frozen=True):
    """A device with expired readings: those before `border`, a whole hour. `reason`: the limit, such as `90 days`."""

    device_id: str
    reason: str
    border: datetime

    @property
    def parameters(self) -> list[Any]:
        """The parameters of EXPIRED."""
        border = connection.ops.adapt_datetimefield_value(self.border)
        return [self.device_id, border, self.device_id, self.device_id]

    def count(self) -> int:
        """How many readings would be deleted. Raises LogDamaged."""
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) {EXPIRED}", self.parameters)
            return int(cursor.fetchone()[0]) + count_expired(self.device_id, self.border)


def raise_error(_: Expiry, error: Exception) -> None:
    raise error


def expiries(*, now: datetime, rotation: Rotation | None = None) -> Iterator[list[Expiry]]:
    """Pages of devices with a retention whose `raw_from` is before the current border, at most PAGE_DEVICES each."""
    rotation = rotation or Rotation()
    of_size = size_border(now=now)
    for ids in rotation.ranges():
        while page := page_of_devices(IdRange(rotation.position or "", ids.until)):
            rotation.position = page[-1][0]
            found = []
            for device_id, own_days, raw_from in page:
                expiry = expiry_of(device_id, own_days, of_size, now=now)
                if expiry and (raw_from is None or raw_from < expiry.border):
                    found.append(expiry)
            yield found


def expiry_of(device_id: str, own_days: int | None, of_size: datetime | None, *, now: datetime) -> Expiry | None:
    """The later of both limits of a device; None if it has none. With 0 days of its own it keeps all its readings."""
    days = settings.RETENTION_DAYS if own_days is None else own_days
    border = floor(now - timedelta(days=days), HOURS) if days else None
    if of_size is not None and own_days != 0 and (border is None or of_size > border):
        return Expiry(device_id, "RETENTION_GB", of_size)
    return Expiry(device_id, counted(days, "day", "days"), border) if border else None


def page_of_devices(ids: IdRange) -> list[tuple[str, int | None, datetime | None]]:
    """The first PAGE_DEVICES devices of the range: id, its own retention in days, and its `raw_from`."""
    devices = Device.objects.filter(device_id__gt=ids.after)
    if ids.until is not None:
        devices = devices.filter(device_id__lte=ids.until)
    values = devices.order_by("device_id").values_list("device_id", "retention_days", "state__raw_from")
    return list(values[:PAGE_DEVICES])


def expire(
    *,
    now: datetime,
    rotation: Rotation | None = None,
    failed: Callable[[Expiry, Exception], None] = raise_error,
) -> Iterator[int]:
    """Deletes expired readings; yields the number of readings of each chunk. It may be stopped between two chunks.

    Keeps readings that are in no hourly rollup yet, and the latest reading of each device; a later call deletes them
    when the border has moved. Calls `failed` for a device that fails, and continues with the others. Raises
    DatabaseError if the whole database is concerned.
    """
    for page in expiries(now=now, rotation=rotation):
        moved = each_apart(page, move_borders, failed) if page else []
        for expiry in moved:
            try:
                yield from deletions(expiry)
            except Exception as error:
                if concerns_whole_database(error):
                    raise
                failed(expiry, error)


def move_borders(page: Sequence[Expiry]) -> None:
    by_border: dict[datetime, list[str]] = defaultdict(list)
    for expiry in page:
        by_border[expiry.border].append(expiry.device_id)
    for border, device_ids in by_border.items():
        with transaction.atomic(durable=True):
            limit_lock_wait()
            DeviceState.objects.lock(device_ids)
            earlier = Q(raw_from=None) | Q(raw_from__lt=border)
            DeviceState.objects.filter(earlier, device_id__in=device_ids).update(raw_from=border)


def deletions(expiry: Expiry) -> Iterator[int]:
    """Deletes the expired readings of a device, one transaction per chunk; yields the number of each chunk.

    Then deletes its expired minute rollups, because queries do not use them before `raw_from`. Holds no cursor between
    chunks, so that the caller may close the connection.
    """
    count = CHUNK_ROWS
    while count >= CHUNK_ROWS:
        count = execute(DELETE_READINGS, [expiry.device_id, *expiry.parameters])
        yield count
    yield from delete_expired(expiry.device_id, expiry.border)
    while execute(DELETE_MINUTES, [expiry.device_id, expiry.device_id, expiry.parameters[1]]) >= CHUNK_ROWS:
        pass
    until = connection.ops.adapt_datetimefield_value(expiry.border - MINUTES.block)
    while execute(DELETE_BLOCKS, [expiry.device_id, expiry.device_id, until]) >= CHUNK_BLOCKS:
        pass


def execute(statement: str, parameters: list[Any]) -> int:
    """Executes the statement; returns the number of changed rows."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)

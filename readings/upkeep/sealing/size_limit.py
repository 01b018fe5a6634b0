"""Retention by size: which readings to delete so that all of them together take at most RETENTION_GB.

The size is computed from what is stored, because the files of a database do not shrink when rows are deleted.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from readings.statistics.planning import ceiling, floor
from readings.statistics.tiers import HOURS
from readings.upkeep.sealing.marks import seal_after

GB = 10**9
# What a row takes with its share of the indexes, and what a segment takes beside its bytes.
ROW_BYTES = {"postgresql": 300, "sqlite": 240}
SEGMENT_BYTES = {"postgresql": 400, "sqlite": 250}

SIZE = """
SELECT
    (SELECT coalesce(sum(length(data) + %s), 0) FROM readings_segment),
    (SELECT coalesce(sum(last_seq - sealed_seq), 0) FROM devices_devicestate)
"""
# A device with 0 days of its own keeps its readings for ever.
OLDEST = """
SELECT last_at FROM (
    SELECT last_at, sum(length(data) + %s) OVER (ORDER BY last_at, segment.device_id, first_seq) AS total
    FROM readings_segment AS segment JOIN devices_device AS device ON device.device_id = segment.device_id
    WHERE device.retention_days IS NULL OR device.retention_days > 0
) AS oldest
WHERE total >= %s ORDER BY total LIMIT 1
"""
NEWEST = """
SELECT last_at FROM readings_segment AS segment JOIN devices_device AS device ON device.device_id = segment.device_id
WHERE device.retention_days IS NULL OR device.retention_days > 0 ORDER BY last_at DESC LIMIT 1
"""


def stored_bytes() -> int:
    """About how many bytes all readings take, rows and segments with their indexes, without statistics."""
    of_segment, of_row = SEGMENT_BYTES[connection.vendor], ROW_BYTES[connection.vendor]
    ((sealed, rows),) = asked(SIZE, [of_segment])
    return int(sealed) + int(rows) * of_row


def size_border(*, now: datetime) -> datetime | None:
    """The whole hour before which readings have to be deleted; None if RETENTION_GB is 0 or not reached.

    Not later than SEAL_AFTER_DAYS ago, though a wrong clock can have dated sealed readings later: newer rows are sealed
    first.
    """
    excess = stored_bytes() - int(settings.RETENTION_GB * GB) if settings.RETENTION_GB else 0
    if excess <= 0:
        return None
    found = asked(OLDEST, [SEGMENT_BYTES[connection.vendor], excess]) or asked(NEWEST, [])
    if not found:
        return None
    last_at: datetime = found[0][0]
    aware = last_at if last_at.tzinfo else last_at.replace(tzinfo=UTC)
    return min(ceiling(aware + timedelta(microseconds=1), HOURS), floor(now - seal_after(), HOURS))


def asked(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())

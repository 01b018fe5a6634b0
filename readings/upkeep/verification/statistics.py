"""Verifies the rollups of a device against its readings, rows and segments."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from devices.metrics import COLUMNS
from readings.log.damage import LogDamaged, StatisticsDamaged
from readings.models import RollupBlock, Segment
from readings.statistics.planning import floor
from readings.statistics.tiers import HOURS, Tier
from readings.upkeep.rollups import COLUMN_PARTS, SQLITE_START
from readings.upkeep.sealing.statistics import Numbers, Statistics, add_values, values_of
from readings.upkeep.sealing.stored_blocks import rollups_of
from readings.upkeep.verification.database import LISTED, aware, moment, rows
from readings.windows import EARLIEST, LATEST

# Readings, more or less, whose statistics one statement compares.
SLICE_READINGS = 50_000
SLICE_SEGMENTS = 24
MICROSECOND = timedelta(microseconds=1)

NEXT_SLICE = f"""
SELECT * FROM (
    SELECT timestamp FROM readings_reading WHERE device_id = %s AND timestamp >= %s
    ORDER BY timestamp LIMIT 1 OFFSET {SLICE_READINGS}
) AS of_rows
UNION ALL
SELECT * FROM (
    SELECT first_at FROM readings_segment WHERE device_id = %s AND first_at >= %s
    ORDER BY first_at LIMIT 1 OFFSET {SLICE_SEGMENTS}
) AS of_segments
"""
# Of a window: the state, the rollups, the statistics of the rows that are in rollups, the segments, and the blocks.
FOUND = f"""
WITH state AS (
    SELECT coalesce(raw_from, %s) AS raw_from, {{position}} AS position FROM devices_devicestate WHERE device_id = %s
), taken AS (
    SELECT device_id, {{start}} AS start, {", ".join(COLUMNS)}, extra FROM readings_reading
    WHERE device_id = %s AND timestamp >= %s AND timestamp < %s
      AND seq <= (SELECT position FROM state) AND timestamp >= (SELECT raw_from FROM state)
)
SELECT 0 AS side, raw_from AS start, '' AS metric, coalesce(position, 0) AS count, 0.0 AS sum, 0.0 AS min, 0.0 AS max,
       {{no_time}} AS last_at, {{no_data}} AS data
FROM state
UNION ALL
SELECT 1, start, metric, count, sum, min, max, {{no_time}}, {{no_data}} FROM readings_rollup
WHERE device_id = %s AND seconds = {{seconds}} AND start >= %s AND start < %s AND start >= (SELECT raw_from FROM state)
UNION ALL
SELECT 2, start, metric, count, sum, min, max, {{no_time}}, {{no_data}} FROM ({COLUMN_PARTS}
    SELECT device_id, start, entry.key, count(*), sum({{value}}), min({{value}}), max({{value}})
    FROM taken, {{entries}} GROUP BY 1, 2, 3
) AS part
UNION ALL
SELECT 3, first_at, '', first_seq, 0, 0, 0, last_at, data FROM readings_segment
WHERE device_id = %s AND last_at >= %s AND first_at < %s
UNION ALL
SELECT 4, start, metric, 0, 0, 0, 0, {{no_time}}, data FROM readings_rollupblock
WHERE device_id = %s AND seconds = {{seconds}} AND start >= %s AND start < %s
ORDER BY 1
"""
STATE, ROLLUP, SEGMENT, BLOCK = 0, 1, 3, 4
DIALECTS: dict[str, dict[Any, str]] = {
    "postgresql": {
        "value": "entry.value::float8",
        "entries": "jsonb_each_text(extra) AS entry(key, value)",
        "no_data": "NULL::bytea",
        "no_time": "NULL::timestamptz",
        3600: "date_trunc('hour', timestamp, 'UTC')",
        60: "date_trunc('minute', timestamp, 'UTC')",
    },
    "sqlite": {
        "value": "CAST(entry.value AS REAL)",
        "entries": "json_each(extra) AS entry",
        "no_data": "NULL",
        "no_time": "NULL",
        **SQLITE_START,
    },
}


def differences(device_id: str, tier: Tier) -> Iterator[str]:
    """Where the rollups of the tier are not those of the readings, as far as retention has left these."""
    listed = 0
    for start, end in slices(device_id):
        of_rollups, of_readings = compared(device_id, tier, start, end)
        for key in sorted(of_rollups.keys() | of_readings.keys()):
            fault = fault_of(of_rollups.get(key), of_readings.get(key))
            if fault:
                begin, metric = key
                at = EARLIEST + begin * MICROSECOND
                yield f"the statistics of {metric} in the {tier.unit} {at:%Y-%m-%d %H:%M} UTC {fault}"
                listed += 1
                if listed == LISTED:
                    return


def fault_of(of_rollup: Numbers | None, of_readings: Numbers | None) -> str | None:
    """What differs. Sums depend on the order of the additions in their last digits."""
    counts = of_rollup.count if of_rollup else 0, of_readings.count if of_readings else 0
    if of_rollup is None or of_readings is None or counts[0] != counts[1]:
        return f"count {counts[0]}, but {counts[1]} are stored"
    largest = max(abs(of_readings.min), abs(of_readings.max))
    same = (of_rollup.min, of_rollup.max) == (of_readings.min, of_readings.max)
    if not same or abs(of_rollup.sum - of_readings.sum) > 1e-9 * counts[0] * largest:
        return "have another sum, minimum or maximum than its readings"
    return None


def compared(device_id: str, tier: Tier, start: datetime, end: datetime) -> tuple[Statistics, Statistics]:
    """The statistics of the window, by the rollups and by the readings; without the times of damaged segments, and
    without the times and metrics of damaged blocks."""
    dialect = DIALECTS[connection.vendor]
    statement = FOUND.format(
        position=tier.position,
        seconds=tier.seconds,
        start=dialect[tier.seconds],
        value=dialect["value"],
        entries=dialect["entries"],
        no_data=dialect["no_data"],
        no_time=dialect["no_time"],
    )
    window = [device_id, moment(start), moment(end)]
    of_rollups: Statistics = {}
    of_readings: Statistics = {}
    damaged: list[tuple[datetime, datetime, str | None]] = []
    until, times = 0, (microseconds(start), microseconds(end))
    parameters = [moment(EARLIEST), device_id, *window * 3, device_id, moment(start - tier.block), moment(end)]
    for side, at, metric, count, *numbers, last_at, data in rows(statement, parameters):
        if side == STATE:
            until, times = count, (max(times[0], microseconds(aware(at))), times[1])
        elif side == SEGMENT:
            segment = Segment(device_id=device_id, first_seq=count, last_seq=count, data=data)
            try:
                add_values(of_readings, values_of(segment, tier, after=0, until=until, times=times))
            except LogDamaged:
                damaged.append((floor(aware(at), tier), aware(last_at), None))
        elif side == BLOCK:
            block = RollupBlock(device_id=device_id, seconds=tier.seconds, start=aware(at), metric=metric, data=data)
            try:
                add_block(of_rollups, block, times=times)
            except StatisticsDamaged:
                damaged.append((block.start, block.start + tier.block - MICROSECOND, metric))
        else:
            into = of_rollups if side == ROLLUP else of_readings
            into[(microseconds(aware(at)), metric)] = Numbers(int(count), *map(float, numbers))
    for begin, last, name in damaged:
        for found in (of_rollups, of_readings):
            for start_of, metric in list(found):
                if microseconds(begin) <= start_of <= microseconds(last) and name in (None, metric):
                    del found[start_of, metric]
    return of_rollups, of_readings


def add_block(found: Statistics, block: RollupBlock, *, times: tuple[int, int]) -> None:
    """Adds the rollups of a block that begin in `times`. Raises StatisticsDamaged."""
    for rollup in rollups_of(block):
        start = microseconds(rollup.start)
        if times[0] <= start < times[1]:
            found[start, rollup.metric] = Numbers(rollup.count, rollup.sum, rollup.min, rollup.max)


def microseconds(at: datetime) -> int:
    return (at - EARLIEST) // MICROSECOND


def slices(device_id: str) -> Iterator[tuple[datetime, datetime]]:
    """Windows of about SLICE_READINGS that together cover all time, with edges at whole hours."""
    start = EARLIEST
    while found := rows(NEXT_SLICE, [device_id, moment(start)] * 2):
        end = floor(min(aware(at) for (at,) in found), HOURS) + HOURS.width
        yield start, end
        start = end
    yield start, LATEST

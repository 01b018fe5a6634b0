"""Verifies a device's log: dense numbers, positions, the latest reading, and the statistics against the readings.

Every statement sees one snapshot, so readings and maintenance may go on meanwhile; only an erasure that is under way
looks like missing readings. Nothing is changed.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from devices.metrics import COLUMNS
from readings.log.reading.rows import moment
from readings.statistics.planning import floor
from readings.statistics.tiers import HOURS, MINUTES, Tier
from readings.upkeep.rollups import COLUMN_PARTS, SQLITE_START
from readings.windows import EARLIEST, LATEST

# Readings, more or less, whose statistics one statement compares.
SLICE_READINGS = 50_000
# Listed of one kind of a device. More are not looked for.
LISTED = 10

# `deleted`: retention has deleted readings, so that numbers may be missing. An erasure leaves out the first ones.
STATE = """
SELECT state.last_seq, state.raw_from IS NOT NULL AS deleted, log.count, log.first, log.last, state.latest_seq,
       state.latest_seq IS NULL OR EXISTS (
           SELECT 1 FROM readings_reading WHERE device_id = state.device_id AND seq = state.latest_seq
           AND id = state.latest_id AND timestamp = state.latest_at
       ) AS latest_is_stored,
       state.rolled_up_seq, state.rolled_up_minutes_seq, state.alarms_seq, state.names_seq
FROM devices_devicestate AS state CROSS JOIN (
    SELECT count(*) AS count, min(seq) AS first, max(seq) AS last FROM readings_reading WHERE device_id = %s
) AS log
WHERE state.device_id = %s
"""
GAPS = f"""
SELECT seq + 1, following - 1 FROM (
    SELECT seq, lead(seq) OVER (ORDER BY seq) AS following FROM readings_reading WHERE device_id = %s
) AS entry
WHERE following > seq + 1 AND (SELECT raw_from FROM devices_devicestate WHERE device_id = %s) IS NULL
ORDER BY seq LIMIT {LISTED}
"""
NEXT_SLICE = f"""
SELECT timestamp FROM readings_reading WHERE device_id = %s AND timestamp >= %s
ORDER BY timestamp LIMIT 1 OFFSET {SLICE_READINGS}
"""
# Sums depend on the order of the additions in their last digits.
DIFFERENCES = f"""
WITH state AS (
    SELECT coalesce(raw_from, %s) AS raw_from, {{position}} AS position FROM devices_devicestate WHERE device_id = %s
), taken AS (
    SELECT device_id, {{start}} AS start, {", ".join(COLUMNS)}, extra FROM readings_reading
    WHERE device_id = %s AND timestamp >= %s AND timestamp < %s
      AND seq <= (SELECT position FROM state) AND timestamp >= (SELECT raw_from FROM state)
), compared AS (
    SELECT 0 AS side, start, metric, count, sum, min, max FROM readings_rollup
    WHERE device_id = %s AND seconds = {{seconds}} AND start >= %s AND start < %s
      AND start >= (SELECT raw_from FROM state)
    UNION ALL
    SELECT 1, start, metric, count, sum, min, max FROM ({COLUMN_PARTS}
        SELECT device_id, start, entry.key, count(*), sum({{value}}), min({{value}}), max({{value}})
        FROM taken, {{entries}} GROUP BY 1, 2, 3
    ) AS part
)
SELECT start, metric, coalesce(sum(count) FILTER (WHERE side = 0), 0), coalesce(sum(count) FILTER (WHERE side = 1), 0)
FROM compared GROUP BY start, metric
HAVING count(*) <> 2 OR min(count) <> max(count) OR min(min) <> max(min) OR min(max) <> max(max)
    OR abs(max(sum) - min(sum)) > 1e-9 * max(count) * max(CASE WHEN abs(min) > abs(max) THEN abs(min) ELSE abs(max) END)
ORDER BY start, metric LIMIT {LISTED}
"""
POSITIONS = ("rolled_up_seq", "rolled_up_minutes_seq", "alarms_seq", "names_seq")
DIALECTS: dict[str, dict[Any, str]] = {
    "postgresql": {
        "value": "entry.value::float8",
        "entries": "jsonb_each_text(extra) AS entry(key, value)",
        3600: "date_trunc('hour', timestamp, 'UTC')",
        60: "date_trunc('minute', timestamp, 'UTC')",
    },
    "sqlite": {"value": "CAST(entry.value AS REAL)", "entries": "json_each(extra) AS entry", **SQLITE_START},
}


def verify(device_id: str) -> Iterator[str]:
    """What is wrong with the log of the device, one text each, at most LISTED of one kind; nothing if it is erased."""
    found = rows(STATE, [device_id, device_id])
    if not found:
        return
    last_seq, deleted, count, first, last, latest_seq, latest_is_stored, *positions = found[0]
    if count and last > last_seq:
        yield f"reading {last} is stored, but the log ends at {last_seq}"
    if count and not deleted:
        if last < last_seq:
            yield missing(last + 1, last_seq)
        if count < last - first + 1:
            for begin, end in rows(GAPS, [device_id, device_id]):
                yield missing(begin, end)
    if not latest_is_stored:
        yield f"reading {latest_seq}, the one with the newest time, is missing or another one"
    for name, position in zip(POSITIONS, positions, strict=True):
        if position is not None and not 0 <= position <= last_seq:
            yield f"the position {name} is {position}, but the log ends at {last_seq}"
    for tier in (HOURS, MINUTES):
        yield from differences(device_id, tier)


def missing(begin: int, end: int) -> str:
    return f"reading {begin} is missing" if begin == end else f"the readings {begin} to {end} are missing"


def differences(device_id: str, tier: Tier) -> Iterator[str]:
    """Where the rollups of the tier are not those of the readings, as far as retention has left these."""
    dialect = DIALECTS[connection.vendor]
    statement = DIFFERENCES.format(
        position=tier.position,
        seconds=tier.seconds,
        start=dialect[tier.seconds],
        value=dialect["value"],
        entries=dialect["entries"],
    )
    listed = 0
    for start, end in slices(device_id):
        window = [device_id, moment(start), moment(end)]
        for begin, metric, of_rollups, of_readings in rows(statement, [moment(EARLIEST), device_id, *window, *window]):
            what = f"the statistics of {metric} in the {tier.unit} {str(begin)[:16]} UTC"
            if of_rollups == of_readings:
                yield f"{what} have another sum, minimum or maximum than its readings"
            else:
                yield f"{what} count {of_rollups}, but {of_readings} are stored"
            listed += 1
            if listed == LISTED:
                return


def slices(device_id: str) -> Iterator[tuple[datetime, datetime]]:
    """Windows of about SLICE_READINGS that together cover all time, with edges at whole hours."""
    start = EARLIEST
    while found := rows(NEXT_SLICE, [device_id, moment(start)]):
        end = floor(aware(found[0][0]), HOURS) + HOURS.width
        yield start, end
        start = end
    yield start, LATEST


def aware(value: datetime) -> datetime:
    """SQLite returns times without a time zone."""
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def rows(statement: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())

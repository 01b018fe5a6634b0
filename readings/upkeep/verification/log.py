"""Verifies a device's log: dense numbers, positions, the latest reading, its segments and its statistics."""

from collections.abc import Iterator

from readings.statistics.tiers import HOURS, MINUTES
from readings.upkeep.verification.blocks import block_faults
from readings.upkeep.verification.database import LISTED, rows
from readings.upkeep.verification.segments import segment_faults
from readings.upkeep.verification.statistics import differences
from readings.upkeep.verification.texts import missing

# `deleted`: retention has deleted readings, so that numbers may be missing. An erasure leaves out the first ones.
STATE = """
SELECT state.last_seq, state.raw_from IS NOT NULL AS deleted, log.count, log.first, log.last, state.latest_seq,
       state.latest_seq IS NULL OR state.latest_seq <= state.sealed_seq OR EXISTS (
           SELECT 1 FROM readings_reading WHERE device_id = %s AND seq = state.latest_seq
           AND id = state.latest_id AND timestamp = state.latest_at
       ) AS latest_is_stored,
       (SELECT count(*) FROM readings_reading WHERE device_id = %s AND seq <= state.sealed_seq) AS unsealed,
       state.rolled_up_seq, state.rolled_up_minutes_seq, state.alarms_seq, state.names_seq, state.sealed_seq
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
POSITIONS = ("rolled_up_seq", "rolled_up_minutes_seq", "alarms_seq", "names_seq", "sealed_seq")


def verify(device_id: str) -> Iterator[str]:
    """What is wrong with the log of the device, one text each, at most LISTED of one kind; nothing if it is erased."""
    found = rows(STATE, [device_id] * 4)
    if not found:
        return
    last_seq, deleted, count, first, last, latest_seq, latest_is_stored, unsealed, *positions = found[0]
    rolled_up_seq, sealed_seq = positions[0], positions[-1]
    if count and last > last_seq:
        yield f"reading {last} is stored, but the log ends at {last_seq}"
    if unsealed:
        yield f"{unsealed} of the readings up to {sealed_seq}, which are sealed, are rows"
    elif not deleted:
        if count and sealed_seq and first > sealed_seq + 1:
            yield missing(sealed_seq + 1, first - 1)
        if max(last or 0, sealed_seq) < last_seq and (count or sealed_seq):
            yield missing(max(last or 0, sealed_seq) + 1, last_seq)
        if count and count < last - first + 1:
            for begin, end in rows(GAPS, [device_id, device_id]):
                yield missing(begin, end)
    if not latest_is_stored:
        yield f"reading {latest_seq}, the one with the newest time, is missing or another one"
    for name, position in zip(POSITIONS, positions, strict=True):
        if position is not None and not 0 <= position <= last_seq:
            yield f"the position {name} is {position}, but the log ends at {last_seq}"
    if sealed_seq > rolled_up_seq:
        yield f"the log is sealed up to {sealed_seq}, but only rolled up to {rolled_up_seq}"
    if sealed_seq:
        yield from segment_faults(device_id)
    yield from block_faults(device_id)
    for tier in (HOURS, MINUTES):
        yield from differences(device_id, tier)

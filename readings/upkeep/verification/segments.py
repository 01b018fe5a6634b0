"""Verifies the segments of a device: checksums, what their columns say, dense numbers, and the ids that are noted."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from readings.log.damage import LogDamaged
from readings.log.entries import StoredReading
from readings.models import Segment
from readings.upkeep.sealing.stored_segments import readings_of
from readings.upkeep.verification.database import LISTED, aware, streamed
from readings.upkeep.verification.texts import doubled, missing

# The state, the segments and the noted ids in the order of the log, from one snapshot. A segment comes before the ids
# of its readings.
ALL = """
SELECT * FROM (
    SELECT 0 AS seq, 0 AS kind, sealed_seq AS last_seq, latest_at AS first_at, latest_at AS last_at,
           coalesce(latest_seq, 0) AS number, raw_from IS NOT NULL AS flag, {no_data} AS data, latest_id AS id
    FROM devices_devicestate WHERE device_id = %s
    UNION ALL
    SELECT first_seq, 1, last_seq, first_at, last_at, count, late, data, {no_id}
    FROM readings_segment WHERE device_id = %s
    UNION ALL
    SELECT seq, 2, 0, {no_time}, {no_time}, 0, {no}, {no_data}, id FROM readings_sealedid WHERE device_id = %s
) AS entry
ORDER BY seq, kind
"""
DIALECTS = {
    "postgresql": {"no_data": "NULL::bytea", "no_id": "NULL::uuid", "no_time": "NULL::timestamptz", "no": "false"},
    "sqlite": {"no_data": "NULL", "no_id": "NULL", "no_time": "NULL", "no": "0"},
}
STATE, SEGMENT, NOTED_ID = 0, 1, 2
Run = tuple[int, int]


class Sealed(msgspec.Struct):
    """What the state of a device says about its sealed readings: the last `seq`, and the latest reading.

    `deleted`: retention has deleted readings.
    """

    until: int
    latest_seq: int
    latest_id: UUID | None
    latest_at: datetime | None
    deleted: bool


class Open(msgspec.Struct):
    """A segment that can have the next ids. `ids`: by `seq`; None: it is damaged."""

    until: int
    ids: dict[int, UUID] | None


def segment_faults(device_id: str) -> Iterator[str]:
    """What is wrong with the segments of the device, one text each, at most LISTED of one kind."""
    statement = ALL.format(**DIALECTS[connection.vendor])
    state = Sealed(0, 0, None, None, False)
    opened: dict[bool, Open] = {}  # by `late`, because segments of the same kind do not reach over each other
    runs: list[Run] = []
    latest_found = latest_may_be = False
    of_ids: list[str] = []
    for seq, kind, last_seq, first_at, last_at, number, flag, data, identifier in streamed(statement, [device_id] * 3):
        if kind == STATE:
            latest_id = UUID(str(identifier)) if identifier else None
            state = Sealed(last_seq, number, latest_id, aware(last_at) if last_at else None, bool(flag))
        elif kind == SEGMENT:
            segment = Segment(
                device_id=device_id,
                first_seq=seq,
                last_seq=last_seq,
                first_at=aware(first_at),
                last_at=aware(last_at),
                count=number,
                late=bool(flag),
                data=data,
            )
            try:
                readings = readings_of(segment)
            except LogDamaged as error:
                yield f"the readings {seq} to {last_seq} are damaged: {error.__cause__}"
                opened[segment.late] = Open(last_seq, None)
                runs.append((seq, last_seq))
                latest_may_be = latest_may_be or seq <= state.latest_seq <= last_seq
                continue
            opened[segment.late] = Open(last_seq, {reading.seq: reading.id for reading in readings})
            runs += runs_of(readings)
            if not describes(segment, readings):
                yield f"the readings {seq} to {last_seq} are not those that their segment names"
            if last_seq > state.until:
                yield f"the readings {seq} to {last_seq} are sealed, but the log only up to {state.until}"
            latest_found = latest_found or any(is_latest(reading, state) for reading in readings)
        elif len(of_ids) < LISTED and (fault := id_fault(seq, UUID(str(identifier)), opened)):
            of_ids.append(fault)
    if 0 < state.latest_seq <= state.until and not (latest_found or latest_may_be):
        yield f"reading {state.latest_seq}, the one with the newest time, is missing or another one"
    yield from islice(run_faults(sorted(runs), state), LISTED)
    yield from of_ids


def describes(segment: Segment, readings: Sequence[StoredReading]) -> bool:
    """Whether the columns of the segment say what is in it."""
    times = [reading.timestamp for reading in readings]
    found: tuple[Any, ...] = (readings[0].seq, readings[-1].seq, min(times), max(times), len(readings))
    return found == (segment.first_seq, segment.last_seq, segment.first_at, segment.last_at, segment.count)


def is_latest(reading: StoredReading, state: Sealed) -> bool:
    of_state = state.latest_seq, state.latest_id, state.latest_at
    return (reading.seq, reading.id, reading.timestamp) == of_state


def id_fault(seq: int, identifier: UUID, opened: dict[bool, Open]) -> str | None:
    """What is wrong with a noted id, given the segments that can have its reading."""
    covering = [segment for segment in opened.values() if seq <= segment.until]
    if any(segment.ids is None for segment in covering):
        return None
    for segment in covering:
        if segment.ids and seq in segment.ids:
            right = segment.ids[seq] == identifier
            return None if right else f"another id is noted for reading {seq} than it has"
    return f"the id of reading {seq} is noted, but no segment has the reading"


def runs_of(readings: Sequence[StoredReading]) -> list[Run]:
    """The numbers as ranges without holes."""
    runs = []
    begin = previous = readings[0].seq
    for reading in readings[1:]:
        if reading.seq != previous + 1:
            runs.append((begin, previous))
            begin = reading.seq
        previous = reading.seq
    return [*runs, (begin, previous)]


def run_faults(runs: Sequence[Run], state: Sealed) -> Iterator[str]:
    """Numbers that are in no segment, or in two. A damaged segment counts as if it had all of its range."""
    last = runs[0][0] - 1 if runs else state.until
    for begin, end in runs:
        if begin > last + 1 and not state.deleted:
            yield missing(last + 1, begin - 1)
        if begin <= last:
            yield doubled(begin, min(end, last))
        last = max(last, end)
    if last < state.until and not state.deleted:
        yield missing(last + 1, state.until)

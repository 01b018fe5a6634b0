"""Finds readings by their ids: in rows, by the noted ids of sealed readings, and by id and time in segments alone."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from uuid import UUID

import msgspec
from django.db import connection

from devices.cpu_pool import Pauses
from devices.database import placement
from devices.database.log_locks import array_of
from devices.database.pipelines import execute_each
from readings.log.entries import StoredReading
from readings.log.reading.opened import Opened
from readings.log.reading.rows import WHOLE, Row, null, readings_of_devices
from readings.log.segments.sealed import MICROSECOND
from readings.models import Segment
from readings.windows import EARLIEST

# One look-up in each primary key for each id. OFFSET 0 and CROSS JOIN forbid the planner any other plan.
BY_IDS = """
SELECT reading.device_id, {columns} FROM unnest(%(devices)s::text[], %(ids)s::uuid[]) AS asked (device_id, id)
CROSS JOIN LATERAL (
    SELECT * FROM readings_reading WHERE device_id = asked.device_id AND id = asked.id{condition} OFFSET 0
) AS reading
UNION ALL
SELECT sealed.device_id, sealed.seq, {none} FROM unnest(%(devices)s::text[], %(ids)s::uuid[]) AS asked (device_id, id)
CROSS JOIN LATERAL (
    SELECT device_id, seq FROM readings_sealedid WHERE device_id = asked.device_id AND id = asked.id{condition} OFFSET 0
) AS sealed
"""
BY_IDS_SQLITE = """
SELECT reading.device_id, {columns} FROM json_each(%(asked)s) AS asked CROSS JOIN readings_reading AS reading
    ON reading.device_id = json_extract(asked.value, '$[0]') AND reading.id = json_extract(asked.value, '$[1]')
UNION ALL
SELECT sealed.device_id, sealed.seq, {none} FROM json_each(%(asked)s) AS asked CROSS JOIN readings_sealedid AS sealed
    ON sealed.device_id = json_extract(asked.value, '$[0]') AND sealed.id = json_extract(asked.value, '$[1]')
"""
# Segments that are read at a time.
SEGMENTS = 16


def by_ids(asked: Sequence[tuple[str, UUID]]) -> list[StoredReading]:
    """The readings with these device ids and ids, in any order; of what is sealed, those with noted ids.

    The logs of the devices must be locked if readings may be sealed meanwhile. Raises LogDamaged.
    """
    columns = ", ".join(f"reading.{name}" for name in ("seq", "timestamp", *WHOLE))
    none = ", ".join(map(null, ("timestamptz", *WHOLE.values())))
    condition = placement.named_condition("device_id", "devices")
    groups = placement.in_groups(asked, itemgetter(0))
    found: list[Row] = []
    if connection.vendor == "postgresql":
        sql = BY_IDS.format(columns=columns, none=none, condition=condition)
        asked_of = [
            {
                "devices": array_of(msgspec.json.encode([device_id for device_id, _ in group]).decode()),
                "ids": array_of(msgspec.json.encode([identifier for _, identifier in group]).decode()),
            }
            for group in groups
        ]
        found += execute_each(connection, sql, asked_of)
    else:
        for group in groups:
            texts = msgspec.json.encode([(device_id, identifier.hex) for device_id, identifier in group]).decode()
            with connection.cursor() as cursor:
                cursor.execute(BY_IDS_SQLITE.format(columns=columns, none=none), {"asked": texts})
                found += cursor.fetchall()
    plain = [row for row in found if row[2] is not None]
    readings = readings_of_devices(plain)
    if len(plain) < len(found):
        wanted = set(asked)
        seqs: dict[str, set[int]] = defaultdict(set)
        for row in found:
            if row[2] is None:
                seqs[row[0]].add(row[1])
        for device_id, of_device in seqs.items():
            # A noted id may be of a reading that retention deleted.
            readings += [one for one in sealed_by_seqs(device_id, of_device) if (device_id, one.id) in wanted]
    return readings


def sealed_by_seqs(device_id: str, seqs: set[int]) -> Iterator[StoredReading]:
    """The sealed readings with these numbers. Empties the set. Raises LogDamaged."""
    pauses = Pauses()
    while seqs:
        seq = seqs.pop()
        covering = Segment.objects.filter(device_id=device_id, first_seq__lte=seq, last_seq__gte=seq)
        for first_seq, last_seq, data in covering.values_list("first_seq", "last_seq", "data"):
            segment = Opened(device_id, first_seq, last_seq, bytes(data), pauses)
            places = [place for place, number in enumerate(segment.seqs) if number == seq or number in seqs]
            seqs.difference_update(segment.seqs)
            yield from segment.readings(places)


def sealed_by_times(asked: Sequence[tuple[str, UUID, datetime]]) -> list[StoredReading]:
    """The sealed readings with these device ids, ids and times, in any order: of each device all segments are looked
    into that have readings of these times. Raises LogDamaged."""
    wanted: dict[str, set[tuple[int, int]]] = defaultdict(set)
    for device_id, identifier, at in asked:
        wanted[device_id].add(((at - EARLIEST) // MICROSECOND, identifier.int))
    found = []
    for device_id, of_device in wanted.items():
        chosen = {at for at, _ in of_device}
        for segment in segments_with(device_id, sorted(chosen)):
            places = [place for place, at in enumerate(segment.times) if at in chosen]
            keys = [
                (segment.times[place], identifier.int)
                for place, identifier in zip(places, segment.ids(places), strict=True)
            ]
            found += segment.readings([place for place, key in zip(places, keys, strict=True) if key in of_device])
    return found


def segments_with(device_id: str, times: Sequence[int]) -> Iterator[Opened]:
    """The segments of the device whose times reach over one of these, which are in order."""
    first, last = (EARLIEST + at * MICROSECOND for at in (times[0], times[-1]))
    of_device = Segment.objects.filter(device_id=device_id)
    ends = of_device.filter(first_at__lte=last, last_at__gte=first).values_list("first_seq", "first_at", "last_at")
    chosen = []
    for first_seq, first_at, last_at in ends:
        place = bisect_left(times, (first_at - EARLIEST) // MICROSECOND)
        if place < len(times) and times[place] <= (last_at - EARLIEST) // MICROSECOND:
            chosen.append(first_seq)
    pauses = Pauses()
    for start in range(0, len(chosen), SEGMENTS):
        some = of_device.filter(first_seq__in=chosen[start : start + SEGMENTS])
        for first_seq, last_seq, data in some.values_list("first_seq", "last_seq", "data"):
            yield Opened(device_id, first_seq, last_seq, bytes(data), pauses)

"""Rollups: statistics of each device's readings by hour and by minute, with each reading counted once.

A step takes the next readings after a device's position in the log, adds them to its rollups and moves the position, in
one transaction. So at every moment a reading is either in the rollups or after the position, never both, also if it
arrives late. `readings.statistics.aggregation` adds the rollups and the readings after the position.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
from django.db import connection, transaction

from devices.database import placement
from devices.metrics import COLUMNS
from devices.models import DeviceState
from readings.catalogue.names import add_changed
from readings.statistics.tiers import HOURS, Tier
from readings.upkeep.failures import Outrun, each_apart
from readings.upkeep.passes import EVERY_ID, IdRange, Rotation
from readings.upkeep.sealing.statistics import roll_up_sealed
from readings.upkeep.sealing.stored_blocks import TooManyBlocks, aware, unseal_mixed

# Maximum number of readings per transaction. Less on SQLite, because ingest waits for the transaction there.
STEP_READINGS = {"postgresql": 50_000, "sqlite": 5_000}
STEP_DEVICES = 5_000
# How long a step waits for a device's row that another transaction has locked.
LOCK_WAIT_SECONDS = 10

# Minute rollups are worthwhile from this number of values of a metric per hour (one per 10 s):
# docs/rollups-and-retention.md
MINUTES_FROM = 360


class SeqRange(msgspec.Struct, frozen=True):
    """Entries of a device's log: `after < seq <= until`; `sealed`: all of them are in segments, otherwise in rows.

    `cut`: the log has more.
    """

    device_id: str
    after: int
    until: int
    sealed: bool = False
    cut: bool = False

    @property
    def length(self) -> int:
        """The number of readings."""
        return self.until - self.after

    def halves(self) -> tuple["SeqRange", "SeqRange"]:
        middle = (self.after + self.until) // 2
        return msgspec.structs.replace(self, until=middle), msgspec.structs.replace(self, after=middle)


class Changed(msgspec.Struct, frozen=True):
    """Rollups of a device to which a step added readings: the first one's start, and the most values that one has."""

    device_id: str
    since: datetime
    most: int


def roll_up(tier: Tier) -> int:
    """One step for the first devices with new readings; returns the number of readings rolled up, 0 if none is left.

    Raises Outrun, TooManyBlocks and DatabaseError, as `take_in`.
    """
    seq_ranges = behind(tier, readings=STEP_READINGS[connection.vendor])
    if seq_ranges:
        take_in(tier, seq_ranges)
    return sum(seq_range.length for seq_range in seq_ranges)


def catch_up(tier: Tier, rotation: Rotation, *, failed: Callable[[SeqRange, Exception], None]) -> Iterator[int]:
    """Steps for all devices until none has new readings; yields the number of readings after each step.

    A pass takes at most STEP_READINGS of a device, so that a device with millions does not delay the others; then the
    next pass follows. `failed` is called for a device whose step fails; later passes leave this device out. Readings
    that arrive during the call may be left for the next call. It may be stopped between two steps.
    Raises DatabaseError if the whole database is concerned.
    """
    share = STEP_READINGS[connection.vendor]
    left_out = set()

    def leave_out(seq_range: SeqRange, error: Exception) -> None:
        left_out.add(seq_range.device_id)
        failed(seq_range, error)

    more = True
    while more:
        more = False
        for ids in rotation.ranges():
            while seq_ranges := behind(tier, readings=share, ids=IdRange(rotation.position or "", ids.until)):
                rotation.position = seq_ranges[-1].device_id
                wanted = [seq_range for seq_range in seq_ranges if seq_range.device_id not in left_out]
                taken = each_apart(wanted, partial(take_in, tier), leave_out) if wanted else []
                more = more or any(seq_range.cut for seq_range in taken)
                yield sum(seq_range.length for seq_range in taken)


def take_in(tier: Tier, seq_ranges: Sequence[SeqRange]) -> None:
    """Adds these ranges to the rollups in one transaction; a single range in several, if it concerns too many blocks.

    Raises Outrun, DatabaseError, and TooManyBlocks if there are several ranges: nothing was changed, of a single range
    its first part may have been added.
    """
    try:
        take_in_at_once(tier, seq_ranges)
    except TooManyBlocks:
        if len(seq_ranges) > 1:
            raise
        for half in seq_ranges[0].halves():
            take_in(tier, [half])


def take_in_at_once(tier: Tier, seq_ranges: Sequence[SeqRange]) -> None:
    with transaction.atomic(durable=True):
        limit_lock_wait()
        groups = placement.in_groups([seq_range for seq_range in seq_ranges if not seq_range.sealed])
        added = [changed for group in groups for changed in add(tier, group)]
        # Only if rollups by minute begin when readings are sealed already.
        since = {changed.device_id: changed.since for changed in added}
        for old in (seq_range for seq_range in seq_ranges if seq_range.sealed):
            if start := roll_up_sealed(tier, old.device_id, after=old.after, until=old.until):
                since[old.device_id] = start
        unseal_mixed(tier, since, divisible=sum(seq_range.length for seq_range in seq_ranges) > 1)
        if tier is HOURS:
            # Before `advance`, which locks the states: ingest must not wait for the catalogue.
            add_changed(msgspec.json.encode(list(seq_ranges)).decode())
        advance(tier, seq_ranges)
        fast = {changed.device_id for changed in added if changed.most >= MINUTES_FROM}
        if tier is HOURS and fast:
            begin_minutes(fast)


def limit_lock_wait() -> None:
    """Limits how long this transaction waits for a locked row to LOCK_WAIT_SECONDS; then it fails."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT_SECONDS}s'")


def waiting() -> int:
    """The number of readings of all devices that are not in an hourly rollup yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(sum(last_seq - rolled_up_seq), 0) FROM devices_devicestate")
        return int(cursor.fetchone()[0])


def behind(tier: Tier, *, readings: int, ids: IdRange = EVERY_ID) -> list[SeqRange]:
    """The readings for one step: the next range of each of the first devices in `ids`, at most `readings` in total.

    A device with more than `readings` new readings is cut and gets its own step; other devices are taken completely, so
    that not every step ends with a cut device. A range does not reach over `sealed_seq`.
    """
    until = "" if ids.until is None else "AND device_id <= %s"
    parameters: list[Any] = [ids.after, STEP_DEVICES] if ids.until is None else [ids.after, ids.until, STEP_DEVICES]
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT device_id, {tier.position}, last_seq, sealed_seq FROM devices_devicestate "
            f"WHERE {tier.position} < last_seq AND device_id > %s {until} ORDER BY device_id LIMIT %s",
            parameters,
        )
        seq_ranges: list[SeqRange] = []
        room = readings
        for device_id, after, last_seq, sealed_seq in cursor.fetchall():
            sealed = after < sealed_seq
            until = min(sealed_seq if sealed else last_seq, after + readings)
            seq_range = SeqRange(device_id, after, until, sealed, cut=until < last_seq)
            room -= seq_range.length
            if room < 0 and seq_ranges:
                break
            seq_ranges.append(seq_range)
        return seq_ranges


def add(tier: Tier, seq_ranges: Sequence[SeqRange]) -> list[Changed]:
    """Adds these rows to the rollups; returns which rollups it changed."""
    parameters: list[Any] = [msgspec.json.encode(list(seq_ranges)).decode()]
    if connection.vendor == "postgresql":
        condition, more = placement.condition("device_id", [seq_range.device_id for seq_range in seq_ranges])
        statement = ADD.format(seconds=tier.seconds, unit=tier.unit, condition=condition)
        parameters += more
    else:
        statement = ADD_SQLITE.format(seconds=tier.seconds, start=SQLITE_START[tier.seconds])
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows = cursor.fetchall()
    if connection.vendor == "postgresql":
        return [Changed(*row) for row in rows]
    found: dict[str, tuple[str, int]] = {}
    for device_id, start, count in rows:
        since, most = found.get(device_id, (start, count))
        found[device_id] = min(since, start), max(most, count)
    return [Changed(device_id, aware(since), most) for device_id, (since, most) in found.items()]


def advance(tier: Tier, seq_ranges: Sequence[SeqRange]) -> None:
    """Moves the positions, which ingest does not change. Raises Outrun if a position has changed since it was read."""
    DeviceState.objects.lock([seq_range.device_id for seq_range in seq_ranges])
    moved = 0
    with connection.cursor() as cursor:
        for group in placement.in_groups(seq_ranges):
            if connection.vendor == "postgresql":
                condition, more = placement.condition("state.device_id", [seq_range.device_id for seq_range in group])
                statement = ADVANCE.format(position=tier.position) + condition
                cursor.execute(statement, [msgspec.json.encode(list(group)).decode(), *more])
            else:
                rows = [(seq_range.until, seq_range.device_id, seq_range.after) for seq_range in group]
                cursor.executemany(ADVANCE_SQLITE.format(position=tier.position), rows)
            moved += cursor.rowcount
    if moved != len(seq_ranges):
        raise Outrun


def begin_minutes(device_ids: set[str]) -> None:
    """Starts minute rollups for these devices; later steps create them from the beginning of the log."""
    DeviceState.objects.filter(device_id__in=device_ids, rolled_up_minutes_seq=None).update(rolled_up_minutes_seq=0)


COLUMN = """
    SELECT device_id, start, '{name}' AS metric, count({name}) AS count, sum({name}) AS sum,
           min({name}) AS min, max({name}) AS max
    FROM taken GROUP BY 1, 2 HAVING count({name}) > 0
    UNION ALL"""
COLUMN_PARTS = "".join(COLUMN.format(name=name) for name in COLUMNS)

# Inserted in the order of the primary key, so that index pages are written one after the other.
ADD = f"""
WITH taken AS MATERIALIZED (
    SELECT reading.device_id, date_trunc('{{unit}}', reading.timestamp, 'UTC') AS start,
           {", ".join(COLUMNS)}, extra
    FROM json_to_recordset(%s::json) AS range (device_id text, after bigint, until bigint)
    CROSS JOIN LATERAL (
        SELECT * FROM readings_reading
        WHERE device_id = range.device_id AND seq > range.after AND seq <= range.until{{condition}}
        OFFSET 0
    ) AS reading
), added AS (
    INSERT INTO readings_rollup AS rollup (device_id, seconds, start, metric, count, sum, min, max)
    SELECT device_id, {{seconds}}, start, metric, count, sum, min, max FROM ({COLUMN_PARTS}
        SELECT device_id, start, entry.key, count(*), sum(entry.value::float8),
               min(entry.value::float8), max(entry.value::float8)
        FROM taken, jsonb_each_text(extra) AS entry(key, value) GROUP BY 1, 2, 3
    ) AS part
    ORDER BY device_id, start, metric
    ON CONFLICT (device_id, seconds, start, metric) DO UPDATE SET
        count = rollup.count + excluded.count, sum = rollup.sum + excluded.sum,
        min = least(rollup.min, excluded.min), max = greatest(rollup.max, excluded.max)
    RETURNING device_id, start, count
)
SELECT device_id, min(start), max(count) FROM added GROUP BY 1
"""
# CROSS JOIN makes SQLite loop over the ranges first, because SQLite does not know that there are few.
ADD_SQLITE = f"""
WITH taken AS MATERIALIZED (
    SELECT reading.device_id, {{start}} AS start, {", ".join(COLUMNS)}, extra
    FROM json_each(%s) AS range CROSS JOIN readings_reading AS reading
    WHERE reading.device_id = json_extract(range.value, '$.device_id')
      AND reading.seq > json_extract(range.value, '$.after') AND reading.seq <= json_extract(range.value, '$.until')
)
INSERT INTO readings_rollup (device_id, seconds, start, metric, count, sum, min, max)
SELECT device_id, {{seconds}}, start, metric, count, sum, min, max FROM ({COLUMN_PARTS}
    SELECT device_id, start, entry.key, count(*), sum(CAST(entry.value AS REAL)),
           min(CAST(entry.value AS REAL)), max(CAST(entry.value AS REAL))
    FROM taken, json_each(extra) AS entry GROUP BY 1, 2, 3
) AS part
WHERE true
ON CONFLICT (device_id, seconds, start, metric) DO UPDATE SET
    count = count + excluded.count, sum = sum + excluded.sum,
    min = min(min, excluded.min), max = max(max, excluded.max)
RETURNING device_id, start, count
"""
SQLITE_START = {3600: "substr(timestamp, 1, 13) || ':00:00'", 60: "substr(timestamp, 1, 16) || ':00'"}

ADVANCE = """
UPDATE devices_devicestate AS state SET {position} = range.until
FROM json_to_recordset(%s::json) AS range (device_id text, after bigint, until bigint)
WHERE state.device_id = range.device_id AND state.{position} = range.after
"""
ADVANCE_SQLITE = "UPDATE devices_devicestate SET {position} = %s WHERE device_id = %s AND {position} = %s"

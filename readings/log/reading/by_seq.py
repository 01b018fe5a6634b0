"""Reads logs by number. A log is sealed from its beginning on, so that every row follows all of its segments."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from operator import itemgetter
from typing import Any, Protocol

import msgspec
from django.db import connection

from devices.cpu_pool import Pauses
from devices.database import placement
from devices.metrics import COLUMNS
from readings.fields import decoded_extra
from readings.log.entries import StoredReading
from readings.log.reading import rows
from readings.log.reading.opened import Opened
from readings.log.reading.rows import (
    DATA,
    LEADING,
    WHOLE,
    Row,
    of_cut,
    of_reading,
    of_segment,
    readings_of_devices,
    stored_readings,
)
from readings.log.segments.sealed import SEGMENT_READINGS_MAX

SEQ_MAX = 2**63 - 1

# What follows a position in one log. Without the condition on `sealed_seq`, a socket near the end of the log would pay
# for looking through all its segments.
LOG_AFTER = """
WITH following AS (
    SELECT first_seq AS cut FROM readings_segment
    WHERE device_id = %(device_id)s AND first_seq > %(after)s
    ORDER BY first_seq LIMIT 1 OFFSET %(segments)s
)
SELECT * FROM (
    SELECT {reading} FROM readings_reading
    WHERE device_id = %(device_id)s AND seq > %(after)s AND seq < coalesce((SELECT cut FROM following), %(always)s)
    ORDER BY seq LIMIT %(limit)s
) AS found
UNION ALL
SELECT {segment} FROM readings_segment
WHERE %(after)s < (SELECT sealed_seq FROM devices_devicestate WHERE device_id = %(device_id)s)
  AND device_id = %(device_id)s AND last_seq > %(after)s
  AND first_seq < coalesce((SELECT cut FROM following), %(always)s)
UNION ALL
SELECT {cut} FROM following
"""

# The rows after a position in each of several logs, of those that are not sealed beyond it; and the others' names.
LOGS_AFTER = """
SELECT * FROM (
    SELECT reading.device_id, {columns} FROM json_to_recordset(%(asked)s::json) AS asked (device_id text, after bigint)
    JOIN devices_devicestate AS state ON state.device_id = asked.device_id AND state.sealed_seq <= asked.after
    JOIN readings_reading AS reading ON reading.device_id = asked.device_id AND reading.seq > asked.after
    WHERE reading.device_id = ANY(
        ARRAY(SELECT device_id FROM json_to_recordset(%(asked)s::json) AS one (device_id text))
    )
    ORDER BY reading.device_id, reading.seq LIMIT %(limit)s
) AS found
UNION ALL
SELECT asked.device_id, {none} FROM json_to_recordset(%(asked)s::json) AS asked (device_id text, after bigint)
JOIN devices_devicestate AS state ON state.device_id = asked.device_id AND state.sealed_seq > asked.after
"""
LOGS_AFTER_SQLITE = """
SELECT * FROM (
    SELECT reading.device_id, {columns} FROM json_each(%(asked)s) AS asked
    CROSS JOIN devices_devicestate AS state ON state.device_id = json_extract(asked.value, '$.device_id')
        AND state.sealed_seq <= json_extract(asked.value, '$.after')
    CROSS JOIN readings_reading AS reading
        ON reading.device_id = json_extract(asked.value, '$.device_id')
        AND reading.seq > json_extract(asked.value, '$.after')
    ORDER BY reading.device_id, reading.seq LIMIT %(limit)s
)
UNION ALL
SELECT state.device_id, {none} FROM json_each(%(asked)s) AS asked
CROSS JOIN devices_devicestate AS state ON state.device_id = json_extract(asked.value, '$.device_id')
    AND state.sealed_seq > json_extract(asked.value, '$.after')
"""

# OFFSET 0, because PostgreSQL does not know that the parts are few.
PARTS = """
SELECT * FROM (
    SELECT reading.device_id, {reading} FROM json_to_recordset(%(asked)s::json)
        AS part (device_id text, after bigint, until bigint)
    CROSS JOIN LATERAL (
        SELECT * FROM readings_reading
        WHERE device_id = part.device_id AND seq > part.after AND seq <= part.until{condition}
        OFFSET 0
    ) AS reading
    ORDER BY reading.device_id, reading.seq
) AS found
UNION ALL
SELECT part.device_id, {segment} FROM json_to_recordset(%(asked)s::json)
    AS part (device_id text, after bigint, until bigint)
CROSS JOIN LATERAL (
    SELECT * FROM readings_segment
    WHERE part.after < (SELECT sealed_seq FROM devices_devicestate WHERE device_id = part.device_id{condition})
      AND device_id = part.device_id AND first_seq <= part.until AND last_seq > part.after{condition}
    OFFSET 0
) AS segment
"""
PARTS_SQLITE = """
SELECT * FROM (
    SELECT reading.device_id, {reading} FROM json_each(%(asked)s) AS part CROSS JOIN readings_reading AS reading
    WHERE reading.device_id = json_extract(part.value, '$.device_id')
      AND reading.seq > json_extract(part.value, '$.after') AND reading.seq <= json_extract(part.value, '$.until')
    ORDER BY reading.device_id, reading.seq
)
UNION ALL
SELECT segment.device_id, {segment} FROM json_each(%(asked)s) AS part CROSS JOIN readings_segment AS segment
WHERE json_extract(part.value, '$.after') < (
    SELECT sealed_seq FROM devices_devicestate WHERE device_id = json_extract(part.value, '$.device_id')
  )
  AND segment.device_id = json_extract(part.value, '$.device_id')
  AND segment.first_seq <= json_extract(part.value, '$.until')
  AND segment.last_seq > json_extract(part.value, '$.after')
"""


class Part(Protocol):
    """Entries of a device's log: `after < seq <= until`."""

    @property
    def device_id(self) -> str: ...

    @property
    def after(self) -> int: ...

    @property
    def until(self) -> int: ...


def logs_after(positions: Mapping[str, int], *, limit: int) -> list[StoredReading]:
    """The next entries after the position of each log, ordered by (device_id, seq), at most `limit` in total.

    Raises LogDamaged.
    """
    if len(positions) == 1:
        ((device_id, after),) = positions.items()
        return log_after(device_id, after, limit=limit)
    postgresql = connection.vendor == "postgresql"
    columns = ", ".join(f"reading.{name}" for name in ("seq", "timestamp", *WHOLE))
    none = ", ".join(map(rows.null, ("bigint", "timestamptz", *WHOLE.values())))
    asked = [{"device_id": device_id, "after": after} for device_id, after in positions.items()]
    with connection.cursor() as cursor:
        cursor.execute(
            (LOGS_AFTER if postgresql else LOGS_AFTER_SQLITE).format(columns=columns, none=none),
            {"asked": msgspec.json.encode(asked).decode(), "limit": limit},
        )
        found: list[Row] = cursor.fetchall()
    entries = readings_of_devices([row for row in found if row[1] is not None])
    for device_id in sorted(row[0] for row in found if row[1] is None):
        before = sum(entry.device_id < device_id for entry in entries)
        if before >= limit:
            break
        entries += log_after(device_id, positions[device_id], limit=limit - before)
        entries.sort(key=lambda entry: (entry.device_id, entry.seq))
    return entries[:limit]


def log_after(device_id: str, after: int, *, limit: int) -> list[StoredReading]:
    """The next entries of one log, at most `limit`. Raises LogDamaged."""
    found: list[StoredReading] = []
    sql = LOG_AFTER.format(
        reading=of_reading(WHOLE), segment=of_segment(WHOLE, time="first_at"), cut=of_cut(WHOLE, seq="cut")
    )
    parameters = {"device_id": device_id, "always": SEQ_MAX, "segments": 1 + limit // SEGMENT_READINGS_MAX}
    while len(found) < limit:
        rest = limit - len(found)
        readings, segments, cut = rows.found(sql, parameters | {"after": after, "limit": rest})
        until = SEQ_MAX if cut is None else cut[2]
        found += sealed_after(device_id, segments, after=after, until=until, limit=rest)
        found += stored_readings(device_id, readings[: limit - len(found)])
        if cut is None:
            break
        after = until - 1
    return found


def sealed_after(device_id: str, segments: Sequence[Row], *, after: int, until: int, limit: int) -> list[StoredReading]:
    """The first `limit` readings of the segments with `after < seq < until`, by `seq`. Raises LogDamaged."""
    pauses = Pauses()
    opened: list[Opened] = []
    keys: list[tuple[int, int, int]] = []
    for first_seq, _, last_seq, data, *_ in sorted(segments, key=itemgetter(0)):
        if len(keys) >= limit:
            keys.sort()
            if keys[limit - 1][0] < first_seq:
                break
        segment = Opened(device_id, first_seq, last_seq, data, pauses)
        keys += [(seq, len(opened), place) for place, seq in enumerate(segment.seqs) if after < seq < until]
        opened.append(segment)
    keys.sort()
    del keys[limit:]
    parts = [segment.readings([key[2] for key in keys if key[1] == place]) for place, segment in enumerate(opened)]
    found = list(map(iter, parts))
    return [next(found[key[1]]) for key in keys]


def parts(asked: Sequence[Part], *, with_extra: bool) -> list[tuple[Any, ...]]:
    """Rows (device id, seq, time, the columns of COLUMNS, and if asked for `extra`) of these parts, by device and seq.

    Each of another device. Readings that retention deleted are missing. Raises LogDamaged.
    """
    columns = {name: WHOLE[name] for name in (*COLUMNS, *(["extra"] if with_extra else []))}
    groups, condition = placement.in_groups(asked), placement.named_condition("device_id", "devices")
    sql = (PARTS if connection.vendor == "postgresql" else PARTS_SQLITE).format(
        reading=of_reading(columns),
        segment=of_segment(columns, time="first_at"),
        condition=condition,
    )
    found: list[Row] = []
    with connection.cursor() as cursor:
        for group in groups:
            ranges = [{"device_id": part.device_id, "after": part.after, "until": part.until} for part in group]
            parameters: dict[str, Any] = {"asked": msgspec.json.encode(ranges).decode()}
            if condition:
                parameters["devices"] = [part.device_id for part in group]
            cursor.execute(sql, parameters)
            found += cursor.fetchall()
    if connection.vendor != "postgresql":
        found = [(*row[:2], row[2].replace(tzinfo=UTC), *row[3:]) for row in found]
    # One more than in the rows of `rows`, because the device id comes first.
    data, first_column = DATA + 1, len(LEADING) + 1
    plain = [row for row in found if row[data] is None]
    if with_extra:
        read = [(*row[:3], *row[first_column:-1], decoded_extra(row[-1])) for row in plain]
    else:
        read = [(*row[:3], *row[first_column:]) for row in plain]
    if len(plain) < len(found):
        by_device = {part.device_id: part for part in asked}
        pauses = Pauses()
        for device_id, first_seq, _, last_seq, segment, *_ in (row for row in found if row[data] is not None):
            opened = Opened(device_id, first_seq, last_seq, segment, pauses)
            part = by_device[device_id]
            read += sealed_rows(opened, part.after, part.until, with_extra=with_extra)
    if len(plain) < len(found) or len(groups) > 1:
        read.sort(key=itemgetter(0, 1))
    return read


def sealed_rows(segment: Opened, after: int, until: int, *, with_extra: bool) -> Iterator[tuple[Any, ...]]:
    """The rows of `parts` of a segment."""
    places = [place for place, seq in enumerate(segment.seqs) if after < seq <= until]
    own = [segment.metric(name) for name in COLUMNS]
    others = [(name, segment.metric(name)) for name in segment.extras] if with_extra else []
    for place, at in zip(places, segment.moments(places), strict=True):
        extra = {name: value for name, values in others if (value := values[place]) is not None}
        metrics = [values[place] for values in own]
        yield (segment.device_id, segment.seqs[place], at, *metrics, *([extra] if with_extra else []))

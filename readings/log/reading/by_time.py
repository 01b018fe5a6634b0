"""Reads a device's log by time, chunk by chunk."""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from django.db import connection

from devices.cpu_pool import Pauses
from devices.database.work_kinds import STATEMENT_SECONDS, DatabaseTimeout, current_work
from devices.metrics import COLUMNS
from readings.log.entries import StoredReading
from readings.log.reading import rows
from readings.log.reading.opened import Opened
from readings.log.reading.rows import WHOLE, Found, Row, moment, of_cut, of_reading, of_segment, stored_readings
from readings.log.segments.sealed import MICROSECOND, SEGMENT_READINGS_MAX
from readings.log.segments.sealed import moment as moment_of
from readings.windows import EARLIEST

# A reading's place in the order by time: `(timestamp, seq)`.
Position = tuple[datetime, int]

# Before and after every time and number.
ALWAYS, NEVER = datetime.max.replace(tzinfo=EARLIEST.tzinfo), datetime.min.replace(tzinfo=EARLIEST.tzinfo)
SEQ_MAX = 2**63 - 1
# Segments that begin inside a chunk. A question that needs more chunks reads more at a time.
SEGMENTS_MAX = 32

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
# Microseconds since 1970 and number of a reading, from which source it is, and its place there.
Key = tuple[int, int, int, int]

# `near`: the end of a segment at which reading begins. The CTE finds the segment before which the chunk ends.
STATEMENT = """
WITH following AS (
    SELECT {near} AS cut FROM readings_segment WHERE device_id = %(device_id)s AND {ahead}
    ORDER BY {near} {direction} LIMIT 1 OFFSET %(segments)s
)
SELECT * FROM (
    SELECT {reading} FROM readings_reading WHERE device_id = %(device_id)s AND {rows}
    ORDER BY timestamp {direction}, seq {direction} LIMIT %(limit)s
) AS found
UNION ALL
SELECT {segment} FROM readings_segment WHERE device_id = %(device_id)s AND {overlapping}
UNION ALL
SELECT {cut} FROM following
"""


class Window(msgspec.Struct, frozen=True):
    """Readings of a device with times in `[start, end)`; None leaves this side open.

    `metrics`: only those with a value for at least one of these; None: all.
    """

    device_id: str
    start: datetime | None = None
    end: datetime | None = None
    metrics: Sequence[str] | None = None


class Form(Protocol[T_co]):
    """What is read of each reading. `columns`: SQL for what a row needs beside its number and time, with its type."""

    @property
    def columns(self) -> Mapping[str, str]: ...

    def of_rows(self, device_id: str, rows: Sequence[Row]) -> Sequence[T_co]: ...

    def of_segment(self, segment: Opened, places: Sequence[int]) -> Sequence[T_co]: ...


class Readings:
    """Whole readings."""

    columns: Mapping[str, str] = WHOLE

    def of_rows(self, device_id: str, rows: Sequence[Row]) -> list[StoredReading]:
        return stored_readings(device_id, rows)

    def of_segment(self, segment: Opened, places: Sequence[int]) -> list[StoredReading]:
        return segment.readings(places)


class Times:
    columns: Mapping[str, str] = {}

    def of_rows(self, device_id: str, rows: Sequence[Row]) -> list[datetime]:
        return [row[1] for row in rows]

    def of_segment(self, segment: Opened, places: Sequence[int]) -> list[datetime]:
        return segment.moments(places)


class Values:
    """`(seq, timestamp, value)` of a metric that all the readings have."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.columns: Mapping[str, str] = {value_of(metric): "float8"}

    def of_rows(self, device_id: str, rows: Sequence[Row]) -> list[tuple[int, datetime, float]]:
        return [(row[0], row[1], float(row[-1])) for row in rows]

    def of_segment(self, segment: Opened, places: Sequence[int]) -> list[tuple[int, datetime, float]]:
        values, seqs = segment.metric(self.metric), segment.seqs
        moments = segment.moments(places)
        return [(seqs[place], at, float(values[place] or 0)) for place, at in zip(places, moments, strict=True)]


class Chunk(msgspec.Struct, Generic[T], frozen=True):
    """The next part of what was asked for, in order, and the position after which the next part begins; None: it is the
    last one."""

    found: Sequence[T]
    following: Position | None


def first(
    window: Window, form: Form[T], *, limit: int, descending: bool = False, beyond: Position | None = None
) -> list[T]:
    """The first `limit` in the order by `(timestamp, seq)` after the position `beyond`, if given.

    Raises LogDamaged, and DatabaseTimeout after the time that one statement may take: to look for a rare metric, all
    segments of a log may have to be read.
    """
    found: list[T] = []
    deadline = time.monotonic() + STATEMENT_SECONDS[current_work.get()]
    segments = limit // SEGMENT_READINGS_MAX
    while len(found) < limit:
        chunk = next_chunk(
            window,
            form,
            limit=limit - len(found),
            strict=True,
            descending=descending,
            beyond=beyond,
            segments=min(segments, SEGMENTS_MAX),
        )
        found += chunk.found
        beyond = chunk.following
        if beyond is None:
            break
        if time.monotonic() > deadline:
            raise DatabaseTimeout("the readings were not found within the deadline of a statement")
        segments = max(1, 2 * segments)
    return found


def next_chunk(
    window: Window,
    form: Form[T],
    *,
    limit: int,
    strict: bool = False,
    descending: bool = False,
    beyond: Position | None = None,
    segments: int = 0,
) -> Chunk[T]:
    """What follows the position `beyond`, read with one statement: at most `limit` rows, and the readings of `segments`
    segments that begin there and of those that have begun before. With `strict` at most `limit` readings in all.

    May be empty although it is not the last one. Raises LogDamaged.
    """
    asked = Asked(window, descending=descending, beyond=beyond)
    found = rows.found(*asked.statement(form.columns, limit=limit, segments=segments))
    if found.segments or found.cut:
        return merged(asked, form, found, limit=limit, strict=strict)
    plain = found.readings
    following = (plain[-1][1], plain[-1][0]) if len(plain) == limit else None
    return Chunk(form.of_rows(window.device_id, plain), following)


class Asked:
    """A question by time: the readings of the window after a position in the order that was asked for."""

    def __init__(self, window: Window, *, descending: bool, beyond: Position | None) -> None:
        self.window, self.descending, self.beyond = window, descending, beyond
        low, high = window.start, None if window.end is None else window.end - MICROSECOND
        if beyond is not None:
            if descending:
                high = beyond[0] if high is None else min(beyond[0], high)
            else:
                low = beyond[0] if low is None else max(beyond[0], low)
        # The first and the last time in question.
        self.low, self.high = low, high

    def statement(self, columns: Mapping[str, str], *, limit: int, segments: int) -> tuple[str, dict[str, Any]]:
        """The SQL and its parameters; its rows are those of `readings.log.reading.rows`."""
        if self.descending:
            near, far, direction, after, before = "last_at", "first_at", "DESC", "<", ">"
            begins, until = self.high, NEVER if self.low is None else self.low - MICROSECOND
        else:
            near, far, direction, after, before = "first_at", "last_at", "ASC", ">", "<"
            begins, until = self.low, ALWAYS if self.high is None else self.high + MICROSECOND
        cut = "(SELECT cut FROM following)"
        parameters: dict[str, Any] = {
            "device_id": self.window.device_id,
            "limit": limit,
            "segments": segments,
            "until": moment(until),
        }
        # One bound, because SQLite scans with one: all rows between two would be read and left out.
        rows = [f"timestamp {before} coalesce({cut}, %(until)s)"]
        overlapping = [f"{near} {before} coalesce({cut}, %(until)s)"]
        ahead = [f"{near} {before} %(until)s"]
        if begins is not None:
            parameters["begins"] = moment(begins)
            ahead.append(f"{near} {after} %(begins)s")
            overlapping.append(f"{far} {after}= %(begins)s")
        if self.beyond is not None:
            # A comparison of rows, so that the database reads the index from this position on.
            parameters |= {"at": moment(self.beyond[0]), "seq": self.beyond[1]}
            rows.append(f"(timestamp, seq) {after} (%(at)s, %(seq)s)")
        if begins is not None and (self.beyond is None or self.beyond[0] != begins):
            rows.append(f"timestamp {after}= %(begins)s")
        if self.window.metrics is not None:
            rows.append(having_any(self.window.metrics, parameters))
        sql = STATEMENT.format(
            near=near,
            direction=direction,
            ahead=" AND ".join(ahead),
            rows=" AND ".join(rows),
            overlapping=" AND ".join(overlapping),
            reading=of_reading(columns),
            segment=of_segment(columns, time=near),
            cut=of_cut(columns, time="cut"),
        )
        return sql, parameters

    def keys(self, segment: Opened, *, source: int, cut: datetime | None) -> list[Key]:
        """The keys of the readings of the segment that the question is about, up to the end of the chunk."""
        low, high = (None if bound is None else microseconds(bound) for bound in (self.low, self.high))
        if cut is not None:
            low, high = (microseconds(cut) + 1, high) if self.descending else (low, microseconds(cut) - 1)
        keys = list(segment.keys(low, high, self.window.metrics, source=source))
        if self.beyond is None:
            return keys
        at, seq = microseconds(self.beyond[0]), self.beyond[1]
        if self.descending:
            before = at, seq
            return [key for key in keys if key < before]
        first = at, seq + 1
        return [key for key in keys if key >= first]


def merged(asked: Asked, form: Form[T], found: Found, *, limit: int, strict: bool) -> Chunk[T]:
    """The next chunk, in order, of what the statement of `asked` found."""
    device_id, descending, rows = asked.window.device_id, asked.descending, found.readings
    cut: datetime | None = None if found.cut is None else found.cut[1]
    # Rows have the source 0, segments 1, 2, … in the order in which they begin.
    keys = [(microseconds(row[1]), row[0], 0, place) for place, row in enumerate(rows)]
    pauses = Pauses()
    opened: list[Opened] = []
    for first_seq, begins, last_seq, data, *_ in sorted(found.segments, key=itemgetter(1), reverse=descending):
        if strict and len(keys) >= limit:
            keys.sort(reverse=descending)
            last, begins = keys[limit - 1][0], microseconds(begins)
            if last > begins if descending else last < begins:
                break
        opened.append(Opened(device_id, first_seq, last_seq, data, pauses))
        keys += asked.keys(opened[-1], source=len(opened), cut=cut)
    keys.sort(reverse=descending)
    following = None if cut is None else (cut, SEQ_MAX if descending else 0)
    if len(rows) == limit:
        # What follows the last row has not been read.
        del keys[keys.index((microseconds(rows[-1][1]), rows[-1][0], 0, limit - 1)) + 1 :]
        following = rows[-1][1], rows[-1][0]
    if strict and len(keys) >= limit:
        del keys[limit:]
        following = moment_of(keys[-1][0]), keys[-1][1]
    parts = [iter(form.of_rows(device_id, [rows[place] for _, _, source, place in keys if not source]))]
    for source, segment in enumerate(opened, start=1):
        parts.append(iter(form.of_segment(segment, [key[3] for key in keys if key[2] == source])))
    return Chunk([next(parts[key[2]]) for key in keys], following)


def microseconds(at: datetime) -> int:
    return (at - EARLIEST) // MICROSECOND


def value_of(metric: str) -> str:
    """SQL for the value of the metric, whose name has been checked."""
    if metric in COLUMNS:
        return metric
    if connection.vendor == "postgresql":
        return f"(extra->>'{metric}')::float8"
    return f"CAST(json_extract(extra, '$.\"{metric}\"') AS REAL)"


def having_any(metrics: Collection[str], parameters: dict[str, Any]) -> str:
    """SQL for readings with a value for at least one of these metrics."""
    own = [f"{name} IS NOT NULL" for name in COLUMNS if name in metrics]
    extras = [name for name in metrics if name not in COLUMNS]
    if extras and connection.vendor == "postgresql":
        parameters["extras"] = extras
        own.append("extra ?| %(extras)s")
    elif extras:
        paths = {f"path_{place}": f'$."{name}"' for place, name in enumerate(extras)}
        parameters.update(paths)
        own += [f"json_type(extra, %({path})s) IS NOT NULL" for path in paths]
    return f"({' OR '.join(own) or 'false'})"

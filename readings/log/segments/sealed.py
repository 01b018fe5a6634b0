"""A segment: readings of one device in the order of their log, as bytes.

Version, CRC-32 of everything else, number of readings, a directory of columns, and the columns: seq, time, ids, and one
for each metric. docs/log-format.md describes every byte.
"""

import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

from devices.metrics import COLUMNS
from readings.log.entries import ReadingLike, StoredReading
from readings.log.segments.ids import Numbered, ids, read_ids
from readings.log.segments.integers import Cursor, Damaged, integers, read_integers, sized, varint
from readings.log.segments.values import Number, metric, read_metric
from readings.windows import EARLIEST

VERSION = 1
CHECKSUM_BYTES = 4
# More gain 1 %, and a page of history decodes whole segments.
SEGMENT_READINGS_MAX = 2048
MICROSECOND = timedelta(microseconds=1)


class Directory(msgspec.Struct, frozen=True):
    """The columns of a segment, still encoded. `metrics`: those with a column of the table first, then by name."""

    count: int
    seqs: bytes
    times: bytes
    ids: bytes
    metrics: dict[str, bytes]


class Columns(msgspec.Struct, frozen=True):
    """A segment by columns. `times` in microseconds since 1970; None in a metric: the reading does not have it."""

    seqs: list[int]
    times: list[int]
    metrics: dict[str, list[Number | None]]


def encode(readings: Sequence[ReadingLike], *, key: bytes) -> bytes:
    """The segment of these readings of one device, 1 to SEGMENT_READINGS_MAX, by `seq`. `key`: that of server ids."""
    if not 0 < len(readings) <= SEGMENT_READINGS_MAX:
        raise ValueError(f"A segment has 1 to {SEGMENT_READINGS_MAX} readings, not {len(readings)}.")
    times = [(reading.timestamp - EARLIEST) // MICROSECOND for reading in readings]
    seqs = [reading.seq for reading in readings]
    columns = [integers(seqs), integers(times)]
    columns.append(ids([reading.id for reading in readings], Numbered(readings[0].device_id, seqs, times, key)))
    metrics: dict[str, list[Any]] = {name: [getattr(reading, name) for reading in readings] for name in COLUMNS}
    for name in sorted({name for reading in readings for name in reading.extra}):
        if name in COLUMNS:
            raise ValueError(f"{name} has a column of its own.")
        metrics[name] = [reading.extra.get(name) for reading in readings]
    encoded = {name: metric(values) for name, values in metrics.items() if any(value is not None for value in values)}
    directory = varint(len(readings)) + b"".join(varint(len(column)) for column in columns) + varint(len(encoded))
    directory += b"".join(sized(name.encode()) + varint(len(column)) for name, column in encoded.items())
    body = directory + b"".join(columns) + b"".join(encoded.values())
    return wrapped(VERSION, body)


def wrapped(version: int, body: bytes) -> bytes:
    return bytes((version,)) + checksum(version, body) + body


def unwrapped(data: bytes, *, version: int) -> Cursor:
    """The body of what `wrapped` has returned. Raises Damaged if version or checksum are others."""
    head = Cursor(data)
    found = head.byte()
    if found != version:
        raise Damaged(f"its version is {found}; this program reads version {version}")
    expected = head.take(CHECKSUM_BYTES)
    body = head.rest()
    if checksum(version, body) != expected:
        raise Damaged("its checksum is wrong")
    return Cursor(body)


@contextmanager
def naming_damage() -> Iterator[None]:
    """A segment with a right checksum that was not written by `encode` raises Damaged too."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise Damaged(f"a column has impossible numbers: {error}") from error


def opened(segment: bytes) -> Directory:
    """Checks the segment and finds its columns. Raises Damaged."""
    cursor = unwrapped(segment, version=VERSION)
    count = cursor.varint()
    if not 0 < count <= SEGMENT_READINGS_MAX:
        raise Damaged(f"it has {count} readings")
    lengths = [cursor.varint() for _ in range(3)]
    with naming_damage():
        names = [(cursor.sized().decode(), cursor.varint()) for _ in range(cursor.varint())]
    seqs, times, id_column = (cursor.take(length) for length in lengths)
    found = Directory(count, seqs, times, id_column, {name: cursor.take(length) for name, length in names})
    if cursor.rest():
        raise Damaged("it has more bytes than it says")
    return found


def columns(segment: bytes, *, metrics: Collection[str] | None = None) -> Columns:
    """The numbers and times of the readings, and these metrics, None: all. The ids are not decoded. Raises Damaged."""
    return columns_of(opened(segment), metrics=metrics)


def columns_of(directory: Directory, *, metrics: Collection[str] | None = None) -> Columns:
    count = directory.count
    with naming_damage():
        return Columns(
            read_integers(directory.seqs, count),
            read_integers(directory.times, count),
            {
                name: read_metric(column, count)
                for name, column in directory.metrics.items()
                if metrics is None or name in metrics
            },
        )


def decode(segment: bytes, device_id: str, *, key: bytes) -> list[StoredReading]:
    """The readings of the segment of this device. `key`: that of server ids. Raises Damaged."""
    directory = opened(segment)
    found = columns_of(directory)
    none = [None] * directory.count
    own: list[Any] = [found.metrics.get(name, none) for name in COLUMNS]
    others = [name for name in found.metrics if name not in COLUMNS]
    extras = [
        {name: value for name, value in zip(others, values, strict=True) if value is not None}
        for values in zip(*(found.metrics[name] for name in others), strict=True)
    ] or [{} for _ in range(directory.count)]
    identifiers = read_ids(directory.ids, Numbered(device_id, found.seqs, found.times, key))
    rows = zip(identifiers, found.seqs, found.times, *own, extras, strict=True)
    return [StoredReading(row[0], device_id, row[1], moment(row[2]), *row[3:]) for row in rows]


def moment(microseconds: int) -> datetime:
    try:
        return EARLIEST + timedelta(microseconds=microseconds)
    except OverflowError as error:
        raise Damaged("a time is impossible") from error


def checksum(version: int, body: bytes) -> bytes:
    return zlib.crc32(body, version).to_bytes(CHECKSUM_BYTES)

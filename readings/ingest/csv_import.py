"""Imports readings from CSV files into the log, through the same write path as ingest, each row only once."""

import csv
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import msgspec

from devices.metrics import COLUMNS, EXTRA_METRICS_MAX, is_metric_name
from devices.models import Device
from devices.querysets import DeviceIdTaken
from devices.validators import DEVICE_ID_PATTERN, is_device_id
from readings.ingest.payloads import InvalidReading, metric_value, reading_id, whole
from readings.log.entries import NewReading
from readings.log.recording import UNKNOWN_DEVICE, Recorded, record
from readings.windows import EARLIEST, UNIX_SECONDS, InvalidMoment, parse_moment

BATCH_READINGS = 5_000
NEEDED = ("device_id", "timestamp")
# Columns of an export: `id` is kept; `seq` is ignored, because the log assigns a new one.
ALLOWED = ("id", "seq")


class InvalidFile(Exception):
    """The file cannot be imported. The message says why."""


class Problem(NamedTuple):
    """Why the row that ends on this line is not stored. The header is line 1."""

    line: int
    field: str
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.field}: {self.detail}" if self.field else f"line {self.line}: {self.detail}"


class Row(NamedTuple):
    line: int
    reading: NewReading


class Imported(msgspec.Struct):
    """Numbers of rows: stored, stored before (`duplicates`), and refused."""

    stored: int = 0
    duplicates: int = 0
    refused: int = 0

    def __str__(self) -> str:
        return f"{self.stored:,} stored, {self.duplicates:,} stored before, {self.refused:,} refused"


class Header(msgspec.Struct, frozen=True):
    """The columns of the file: all names, and (index, name) of each metric."""

    names: list[str]
    metrics: list[tuple[int, str]]

    def place(self, name: str) -> int | None:
        return self.names.index(name) if name in self.names else None


def read_header(rows: Iterator[list[str]]) -> Header:
    """Reads the first line. Raises InvalidFile."""
    names = [name.strip() for name in next(rows, [])]
    if not names:
        raise InvalidFile("The file is empty. Its first line must be device_id,timestamp and the names of metrics.")
    if missing := [name for name in NEEDED if name not in names]:
        hint = " Separate the columns with commas." if ";" in "".join(names) or "\t" in "".join(names) else ""
        raise InvalidFile(
            f"The first line has no column {missing[0]!r}. Its columns are {', '.join(names)[:200]!r}.{hint}"
        )
    if twice := [name for name in names if names.count(name) > 1]:
        raise InvalidFile(f"The first line has the column {twice[0]!r} twice.")
    metrics = [(place, name) for place, name in enumerate(names) if name not in (*NEEDED, *ALLOWED)]
    if wrong := [name for _, name in metrics if not is_metric_name(name)]:
        raise InvalidFile(f"{wrong[0][:80]!r} is not a metric name. A metric name matches ^[a-z][a-z0-9_]{{0,62}}$.")
    if not metrics:
        raise InvalidFile("The first line has no metric.")
    return Header(names, metrics)


def read_rows(lines: Iterable[str], *, now: datetime) -> Iterator[Row | Problem]:
    """Yields each row of a CSV file as a Row, or as a Problem if it is invalid. Raises InvalidFile for the header."""
    reader = csv.reader(lines, strict=True)
    header = read_header(reader)
    columns = Columns(header, now)
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Problem(reader.line_num, "", f"This is not CSV: {error}.")
            continue
        if not values:
            continue
        try:
            yield Row(reader.line_num, columns.reading(values))
        except InvalidReading as invalid:
            yield Problem(reader.line_num, invalid.refusal.field, invalid.refusal.detail)


class Columns:
    """Converts rows to readings."""

    def __init__(self, header: Header, now: datetime) -> None:
        self.header, self.now = header, now
        self.device_place, self.time_place = (header.names.index(name) for name in NEEDED)
        self.id_place = header.place("id")

    def reading(self, values: list[str]) -> NewReading:
        """Raises InvalidReading."""
        if len(values) != len(self.header.names):
            detail = f"The row has {len(values)} columns, but the first line has {len(self.header.names)}."
            raise InvalidReading("", "wrong_length", detail)
        device_id = values[self.device_place].strip()
        if not is_device_id(device_id):
            raise InvalidReading("device_id", "invalid_device_id", f"A device_id must match ^{DEVICE_ID_PATTERN}$.")
        timestamp = self.moment(values[self.time_place].strip())
        columns: dict[str, float] = {}
        extra: dict[str, float] = {}
        for place, name in self.header.metrics:
            if text := values[place].strip():
                value = metric_value(name, text)
                if name in COLUMNS:
                    columns[name] = value
                else:
                    extra[name] = whole(int(value)) if text.lstrip("+-").isdecimal() else value
        if not columns and not extra:
            raise InvalidReading("", "no_metrics", "The row has no metric value.")
        if len(extra) > EXTRA_METRICS_MAX:
            detail = f"At most {EXTRA_METRICS_MAX} metrics in addition to {', '.join(COLUMNS)}."
            raise InvalidReading("", "too_many_metrics", detail)
        given = values[self.id_place].strip() if self.id_place is not None else ""
        identifier = reading_id(given) if given else identity(device_id, timestamp, columns | extra)
        return NewReading(
            device_id,
            timestamp,
            identifier,
            columns.get("temperature"),
            columns.get("humidity"),
            columns.get("voltage"),
            extra,
        )

    def moment(self, text: str) -> datetime:
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC) if text[-1:] == "Z" else absolute(text, self.now)
        except (ValueError, OverflowError) as error:
            detail = f"{text[:40]!r} is not a time. Write RFC 3339 (2026-05-09T10:00:00Z) or Unix seconds."
            raise InvalidReading("timestamp", "invalid_time", detail) from error
        if moment > self.now:
            raise InvalidReading("timestamp", "in_the_future", f"{text[:40]} is in the future.")
        if moment < EARLIEST:
            raise InvalidReading("timestamp", "too_early", f"{text[:40]} is before 1970.")
        return moment


def absolute(text: str, now: datetime) -> datetime:
    """Parses a time, but not a relative one, because that would depend on the time of the import."""
    if not text or not (UNIX_SECONDS.fullmatch(text) or text[:4].isdecimal()):
        raise InvalidMoment(text)
    return parse_moment(text, now=now)


def identity(device_id: str, timestamp: datetime, values: dict[str, float]) -> UUID:
    """The id for a row without one. Equal rows get equal ids, so that no row is stored twice.

    A UUID of version 8 (RFC 9562, section 5.8), ordered by time like version 7, which keeps the index fast.
    """
    text = f"{device_id}|{timestamp.isoformat()}|{sorted((name, float(value)) for name, value in values.items())}"
    bits = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=10).digest())
    milliseconds = (timestamp - EARLIEST).total_seconds() * 1000
    head = int(milliseconds) << 80 | 0x8 << 76 | (bits >> 62 & 0xFFF) << 64
    return UUID(int=head | 1 << 63 | bits & (1 << 62) - 1)


def store_rows(
    rows: Iterable[Row | Problem], *, register: bool, dry_run: bool = False
) -> Iterator[tuple[Imported, list[Problem]]]:
    """Stores the rows in transactions of BATCH_READINGS; after each yields the totals and the newly refused rows.

    `register` registers unknown devices in the transaction of their first readings; their keys are not shown, so they
    must be rotated before use. With `dry_run` nothing is stored. The import does not change `last_seen_at`.
    Raises DatabaseError; rows stored before it stay stored, and a repeated import stores no row twice.
    """
    rows = iter(rows)
    done = Imported()
    known: set[str] = set()
    while batch := list(islice(rows, BATCH_READINGS)):
        problems = [item for item in batch if isinstance(item, Problem)]
        good = [item for item in batch if isinstance(item, Row)]
        named = {row.reading.device_id for row in good} - known
        known |= set(Device.objects.filter(device_id__in=named).values_list("device_id", flat=True))
        missing = named - known if register else set()
        known |= missing
        if dry_run:
            refusals = [None if row.reading.device_id in known else UNKNOWN_DEVICE for row in good]
            done.stored += refusals.count(None)
        else:
            outcomes = record_of(missing, [row.reading for row in good])
            refusals = [outcome.refusal for outcome in outcomes]
            done.duplicates += sum(outcome.duplicate for outcome in outcomes)
            done.stored += sum(not outcome.duplicate and outcome.refusal is None for outcome in outcomes)
        for row, refusal in zip(good, refusals, strict=True):
            if refusal:
                detail = refusal.detail
                if refusal is UNKNOWN_DEVICE:
                    detail = f"There is no device {row.reading.device_id!r}. Use --register to register it."
                problems.append(Problem(row.line, refusal.field, detail))
        done.refused += len(problems)
        yield done, sorted(problems)


def record_of(missing: set[str], readings: list[NewReading]) -> list[Recorded]:
    """Stores readings and registers the missing devices; repeats if another process registers one at the same time."""
    while True:
        try:
            return record(readings, received_at=None, register=sorted(missing))
        except DeviceIdTaken as taken:
            missing = missing - {taken.device_id}

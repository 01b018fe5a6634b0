"""Stores the rows of a file in the log."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from devices.models import Device
from devices.querysets import DeviceIdTaken
from readings.ingest.csv_import.problems import InvalidFile, Problem
from readings.ingest.csv_import.rows import Row
from readings.log.entries import NewReading
from readings.log.recording import UNKNOWN_DEVICE, Recorded, record

BATCH_READINGS = 5_000


class Imported(msgspec.Struct):
    """Numbers of rows: stored, stored before (`duplicates`), and refused; the earliest and latest time of those stored.

    In a dry run `stored` are the rows that would be stored, or are stored already.
    """

    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    earliest: datetime | None = None
    latest: datetime | None = None

    def __str__(self) -> str:
        return f"{self.stored:,} stored, {self.duplicates:,} stored before, {self.refused:,} refused"

    @property
    def rows(self) -> int:
        return self.stored + self.duplicates + self.refused

    def add_stored(self, times: list[datetime]) -> None:
        self.stored += len(times)
        if times:
            self.earliest = min(self.earliest or times[0], *times)
            self.latest = max(self.latest or times[0], *times)


def store_rows(
    rows: Iterable[Row | Problem], done: Imported, *, register: bool, dry_run: bool = False
) -> Iterator[list[Problem]]:
    """Stores the rows in transactions of BATCH_READINGS; after each, counts them in `done` and yields those refused.

    `register` registers unknown devices in the transaction of their first readings; their keys are not shown, so they
    must be rotated before use. With `dry_run` nothing is stored. The import does not change `last_seen_at`.
    Raises DatabaseError; rows stored before it stay stored, and a repeated import stores no row twice. Raises
    InvalidFile where the file cannot be read on, after all rows before that are stored.
    """
    known: set[str] = set()
    for batch in batches(rows):
        problems = [item for item in batch if isinstance(item, Problem)]
        good = [item for item in batch if isinstance(item, Row)]
        named = {row.reading.device_id for row in good} - known
        known |= set(Device.objects.filter(device_id__in=named).values_list("device_id", flat=True))
        missing = named - known if register else set()
        known |= missing
        if dry_run:
            refusals = [None if row.reading.device_id in known else UNKNOWN_DEVICE for row in good]
            stored = [refusal is None for refusal in refusals]
        else:
            outcomes = record_of(missing, [row.reading for row in good])
            refusals = [outcome.refusal for outcome in outcomes]
            stored = [not outcome.duplicate and outcome.refusal is None for outcome in outcomes]
            done.duplicates += sum(outcome.duplicate for outcome in outcomes)
        done.add_stored([row.reading.timestamp for row, is_stored in zip(good, stored, strict=True) if is_stored])
        for row, refusal in zip(good, refusals, strict=True):
            if refusal:
                detail = refusal.detail
                if refusal is UNKNOWN_DEVICE:
                    detail = f"There is no device {row.reading.device_id!r}. Use --register to register it."
                problems.append(Problem(row.line, refusal.field, detail))
        done.refused += len(problems)
        yield sorted(problems)


def batches(rows: Iterable[Row | Problem]) -> Iterator[list[Row | Problem]]:
    """BATCH_READINGS rows at a time; before InvalidFile is raised, the rows until there."""
    batch: list[Row | Problem] = []
    try:
        for row in rows:
            batch.append(row)
            if len(batch) == BATCH_READINGS:
                yield batch
                batch = []
    except InvalidFile:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def record_of(missing: set[str], readings: list[NewReading]) -> list[Recorded]:
    """Stores readings and registers the missing devices; repeats if another process registers one at the same time."""
    while True:
        try:
            return record(readings, received_at=None, register=sorted(missing))
        except DeviceIdTaken as taken:
            missing = missing - {taken.device_id}

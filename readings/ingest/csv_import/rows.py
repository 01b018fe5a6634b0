"""Makes readings from the rows of a file."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, NamedTuple
from uuid import UUID

from devices.metrics import COLUMNS, EXTRA_METRICS_MAX
from devices.validators import DEVICE_ID_PATTERN, is_device_id
from readings.ingest.csv_import.cells import number
from readings.ingest.csv_import.dialect import cells_of, detect_decimal, detect_separator
from readings.ingest.csv_import.header import read_header
from readings.ingest.csv_import.local_times import Times
from readings.ingest.csv_import.options import Options
from readings.ingest.csv_import.problems import InvalidFile, Problem
from readings.ingest.csv_import.records import Lines, read_records
from readings.ingest.payloads import InvalidReading, reading_id
from readings.log.entries import NewReading
from readings.log.ids import derived_id

SEPARATOR_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "|"}


class Row(NamedTuple):
    line: int
    reading: NewReading


class Rows:
    """The rows of a CSV file: each a Row, or a Problem if it is invalid.

    Reads the header at once. Raises InvalidFile, also during iteration. `file` is the name of the file, for proposals.
    `warn` is called with what is assumed, before the row that needs it is given out.
    """

    def __init__(
        self,
        text: IO[str],
        *,
        now: datetime,
        options: Options | None = None,
        file: str = "-",
        warn: Callable[[str], object] = str,
    ) -> None:
        self.options = options or Options()
        lines = Lines(text, self.options.encoding)
        sample = lines.sample()
        self.separator = self.options.separator or detect_separator(sample)
        self.records = read_records(lines, separator=self.separator, skip_bad=self.options.skip_bad)
        first = next(self.records, None)
        if first is None:
            raise InvalidFile("The file is empty. Its first line must be device_id,timestamp and the names of metrics.")
        if isinstance(first, Problem):
            raise InvalidFile(str(first))
        if first.cells[0].lstrip()[:1] in ("{", "["):
            raise InvalidFile(
                "This is JSON, not CSV. Post it to /api/v1/ingest/batch, or convert it to CSV to keep its times."
            )
        values = cells_of(sample, self.separator)[1:]
        self.header = read_header(first, values, self.options, file)
        cells = [row[place] for row in values for place, _ in self.header.metrics if place < len(row)]
        self.decimal = self.options.decimal or detect_decimal(cells)
        self.times = Times(now=now, zone=self.options.zone, time_format=self.options.time_format, warn=warn)

    def __iter__(self) -> Iterator[Row | Problem]:
        for record in self.records:
            if isinstance(record, Problem):
                yield record
                continue
            try:
                yield Row(record.line, self.reading(record.cells))
            except InvalidReading as invalid:
                yield Problem(record.line, invalid.refusal.field, invalid.refusal.detail)

    def notes(self) -> list[str]:
        """What was found out about the file, if it is not the usual: separators, and columns that are left out."""
        found = []
        if self.separator != "," and not self.options.separator:
            found.append(f"The separator is {SEPARATOR_NAMES[self.separator]!r} (--separator).")
        if self.decimal != "." and not self.options.decimal:
            found.append("Numbers have a decimal comma (--decimal).")
        return found + [f"Ignored: {column}." for column in self.header.ignored]

    def reading(self, cells: list[str]) -> NewReading:
        """Raises InvalidReading."""
        header = self.header
        if len(cells) != header.width:
            detail = f"The row has {len(cells)} columns, but the header has {header.width}."
            raise InvalidReading("", "wrong_length", detail)
        device_id = self.options.device if header.device_place is None else cells[header.device_place].strip()
        if not is_device_id(device_id):
            raise InvalidReading("device_id", "invalid_device_id", f"A device_id must match ^{DEVICE_ID_PATTERN}$.")
        timestamp = self.times.moment(cells[header.time_place].strip(), device_id)
        columns: dict[str, float] = {}
        extra: dict[str, float] = {}
        for place, name in header.metrics:
            if (text := cells[place].strip()) and (value := number(name, text, decimal=self.decimal)) is not None:
                if name in COLUMNS:
                    columns[name] = float(value)
                else:
                    extra[name] = value
        if not columns and not extra:
            raise InvalidReading("", "no_metrics", "The row has no metric value.")
        if len(extra) > EXTRA_METRICS_MAX:
            detail = f"At most {EXTRA_METRICS_MAX} metrics in addition to {', '.join(COLUMNS)}."
            raise InvalidReading("", "too_many_metrics", detail)
        given = cells[header.id_place].strip() if header.id_place is not None else ""
        return NewReading(
            device_id,
            timestamp,
            reading_id(given) if given else identity(device_id, timestamp, columns | extra),
            columns.get("temperature"),
            columns.get("humidity"),
            columns.get("voltage"),
            extra,
        )


def identity(device_id: str, timestamp: datetime, values: dict[str, float]) -> UUID:
    """The id for a row without one. Equal rows get equal ids, so that no row is stored twice."""
    text = f"{device_id}|{timestamp.isoformat()}|{sorted([(name, float(value)) for name, value in values.items()])}"
    return derived_id(text.encode(), milliseconds=int(timestamp.timestamp() * 1000))

"""Assigns the columns of a file: the device, the time, the id and the metrics."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from devices.metrics import TIME_NAMES, is_metric_name
from devices.plurals import counted
from readings.ingest.csv_import.cells import is_absent
from readings.ingest.csv_import.names import device_column, device_from, metric_from, time_column, unused
from readings.ingest.csv_import.options import Options
from readings.ingest.csv_import.problems import InvalidFile, quoted
from readings.ingest.csv_import.records import Record
from readings.ingest.csv_import.times import is_time
from readings.ingest.payloads import NUMERIC, InvalidReading, reading_id

# Columns of an export: `id` is kept; `seq` is ignored, because the log assigns a new one.
OF_EXPORTS = ("device_id", "timestamp", "id", "seq")
# Values of a column that must all be text before the whole column counts as text.
TEXT_CELLS_MIN = 3
# Far more than a log can have metrics. Without a bound, a header of a million names would be compared for minutes.
COLUMNS_MAX = 5_000


@dataclass(frozen=True)
class Header:
    """Where a row has what: the places of its columns, and (place, name) of each metric.

    `device_place` is None if all rows are of one device. `ignored` describes the columns that are left out.
    """

    width: int
    device_place: int | None
    time_place: int
    id_place: int | None
    metrics: list[tuple[int, str]]
    ignored: list[str]


def read_header(record: Record, sample: Sequence[Sequence[str]], options: Options, file: str) -> Header:
    """Assigns the columns named in this record, at most COLUMNS_MAX; `sample` has the first rows of values.

    Raises InvalidFile, which names everything that does not fit, and proposes options with which all of it does.
    """
    if len(record.cells) > COLUMNS_MAX:
        columns = counted(len(record.cells), "column", "columns")
        raise InvalidFile(f"The header (line {record.line}) has {columns}; at most {COLUMNS_MAX:,} are possible.")
    return Assignment(record, sample, options, file).header()


class Assignment:
    def __init__(self, record: Record, sample: Sequence[Sequence[str]], options: Options, file: str) -> None:
        self.line, self.options, self.file = record.line, options, file
        self.old = [name.strip() for name in record.cells]
        self.columns = {
            name: [row[place] for row in sample if place < len(row)] for place, name in enumerate(self.old) if name
        }
        self.problems: list[str] = []
        self.proposed: list[str] = []
        self.ignored: list[str] = []

    def header(self) -> Header:
        self.check_options()
        names = [self.new_name(place, old) for place, old in enumerate(self.old)]
        self.check_needed(names)
        self.check_names(names)
        metrics = [(place, name) for place, name in enumerate(names) if name and name not in OF_EXPORTS]
        if not metrics and not self.problems:
            self.problem(f"has no metric. Its columns are {self.listed()}.")
        if self.problems:
            if any(is_time(name) or NUMERIC.fullmatch(name) for name in self.old):
                self.problems.append(
                    "It looks like a row of values. Write a line with the names of the columns before it."
                )
                self.proposed.clear()
            raise InvalidFile("\n  ".join(self.problems), self.proposed)
        return Header(
            len(names),
            names.index("device_id") if "device_id" in names else None,
            names.index("timestamp"),
            names.index("id") if "id" in names else None,
            metrics,
            self.ignored,
        )

    def problem(self, words: str, *proposed: str) -> None:
        """Adds a problem of the header as a whole; `words` begin with a verb."""
        self.problems.append(f"The header (line {self.line}) {words}" if not self.problems else f"It {words}")
        self.proposed += proposed

    def problem_of(self, column: str, words: str, *proposed: str) -> None:
        self.problems.append(f"{f'line {self.line}: ' if not self.problems else ''}{quoted(column)} {words}")
        self.proposed += proposed

    def listed(self) -> str:
        return repr(", ".join(self.old)[:200])

    def check_options(self) -> None:
        options = self.options
        for name in (*([options.time] if options.time else []), *options.renamed, *sorted(options.ignored)):
            if name not in self.old:
                raise InvalidFile(
                    f"The header (line {self.line}) has no column {quoted(name)}. Its columns are {self.listed()}."
                )

    def new_name(self, place: int, old: str) -> str:
        """The column's name in the import; empty if it is left out."""
        if old in self.options.ignored:
            return ""
        if not old:
            self.ignored.append(f"column {place + 1}, which has no name")
            return ""
        if old == self.options.time:
            return "timestamp"
        if old in self.options.renamed:
            return self.options.renamed[old]
        # A time is never stored as a metric, as at the ingest endpoints.
        if old != "timestamp" and old in TIME_NAMES and self.has_time():
            self.ignored.append(f"{old}, because a time is not a metric")
            return ""
        return old

    def has_time(self) -> bool:
        named = {*self.old, *self.options.renamed.values()} - self.options.ignored
        return bool(self.options.time) or "timestamp" in named

    def check_needed(self, names: list[str]) -> None:
        """The device and the time."""
        if "timestamp" not in names:
            column, time_format = time_column({old: self.columns[old] for old, new in self.named(names) if old == new})
            words = f"has no column 'timestamp'. Its columns are {self.listed()}."
            if column:
                words += f" {quoted(column)} has times: --time {column}"
                self.problem(words, "--time", column, *(["--time-format", time_format] if time_format else []))
                self.without(column, names)
            else:
                self.problem(f"{words} Name the column that has the time with --time.", "--time", "COLUMN")
        if "device_id" in names and self.options.device:
            self.problem(
                "has a column 'device_id', but --device names the device of all rows.", "--ignore", "device_id"
            )
        elif "device_id" not in names and not self.options.device:
            column = device_column({old: self.columns[old] for old, new in self.named(names) if old == new})
            words = "has no column 'device_id'."
            if column:
                self.problem(f"{words} {quoted(column)} may have the device.", "--map", f"{column}=device_id")
                self.without(column, names)
            else:
                self.problem(f"{words} If all rows are of one device, name it.", "--device", device_from(self.file))

    def named(self, names: list[str]) -> list[tuple[str, str]]:
        return [(old, new) for old, new in zip(self.old, names, strict=True) if new]

    def without(self, column: str, names: list[str]) -> None:
        """Takes a column, for which an option is proposed, out of the metrics."""
        names[self.old.index(column)] = ""

    def check_names(self, names: list[str]) -> None:
        counted = Counter(name for name in names if name)
        if twice := [name for name in counted if counted[name] > 1]:
            self.problem(f"has the column {twice[0]!r} twice.")
        used = set(names)
        for old, new in self.named(names):
            if new == "id" and (ids := self.columns[old]) and not any(map(is_id, ids)):
                self.problem_of(old, "has values that are not UUIDs.", "--ignore", old)
            elif new in OF_EXPORTS:
                continue
            elif self.is_text(old):
                self.problem_of(old, "has text, which cannot be stored.", "--ignore", old)
            elif not is_metric_name(new):
                name = unused(metric_from(new), used)
                used.add(name)
                words = "is not a metric name. A metric name matches ^[a-z][a-z0-9_]{0,62}$."
                self.problem_of(new, words, "--map", f"{old}={name}")

    def is_text(self, name: str) -> bool:
        cells = [cell for cell in self.columns[name] if not is_absent(cell)]
        return len(cells) >= TEXT_CELLS_MIN and all(map(is_text, cells))


def is_text(cell: str) -> bool:
    """Whether the cell is a word or a time. `1.234,5` is neither; as a number it is refused in its row."""
    if NUMERIC.fullmatch(cell.replace(",", ".")):
        return False
    return any(map(str.isalpha, cell)) or is_time(cell)


def is_id(text: str) -> bool:
    try:
        return not text or reading_id(text) is not None
    except InvalidReading:
        return False

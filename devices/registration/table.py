"""Reads a table of new devices (CSV) and checks all of it. Nothing is written here."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from devices.api.serializers import NewDeviceSerializer, StrictIntegerField
from devices.models import RETENTION_DAYS_MAX, Device, Tag
from devices.querysets import Viewer
from devices.tags.names import TAGS_MAX, TAGS_OF_DEVICE_MAX, distinct, split_names
from devices.tags.tagging import OutsideLimit, check_limit

DEVICES_MAX = 1_000
# Faults that are listed; all are counted.
FAULTS_LISTED = 100
CELL_CHARACTERS_MAX = 10_000
# Cells of the first line: a longer one is no header.
COLUMNS_READ_MAX = 100

COLUMNS = (
    *("device_id", "name", "tags", "report_interval", "retention_days"),
    *("location", "latitude", "longitude", "notes"),
)
WHOLE_NUMBERS = ("report_interval", "retention_days")
DEGREES = ("latitude", "longitude")
# Spreadsheets separate cells by semicolons where the comma is the decimal separator.
SEPARATORS = ",;\t"
WHOLE = re.compile(r"[+-]?\d{1,12}(?:\.0+)?", re.ASCII)
DECIMAL = re.compile(r"[+-]?\d{1,4}(?:[.,]\d{1,18})?", re.ASCII)


class Fault(NamedTuple):
    """Why the table is refused. `line`: where the row begins, the first line is 1. `column`: "" for a whole row."""

    line: int
    column: str
    code: str
    detail: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.column}: {self.detail}" if self.column else f"line {self.line}: {self.detail}"


class InvalidTable(Exception):
    """The table has these faults, in the order of its lines."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(str(faults[0]))
        self.faults = list(faults)


class NewDevice(NamedTuple):
    """A row without faults. `fields` are those of `Device.objects.register_all`."""

    line: int
    fields: dict[str, Any]
    tags: list[str]


class RowSerializer(NewDeviceSerializer):
    retention_days = StrictIntegerField(min_value=0, max_value=RETENTION_DAYS_MAX, allow_null=True, required=False)


def checked(body: bytes, viewer: Viewer, *, may_add_tags: bool) -> list[NewDevice]:
    """The devices of the table, at most DEVICES_MAX. Raises InvalidTable with every fault.

    `viewer`: who registers them; one who is limited to tags must give each device one of these, and no others.
    `may_add_tags`: a tag that does not exist is no fault.
    """
    faults: list[Fault] = []
    devices: list[NewDevice] = []
    for line, cells in rows_of(decoded(body)):
        device = device_of(line, cells, faults)
        if device is not None:
            devices.append(device)
    if not devices and not faults:
        raise InvalidTable([Fault(1, "", "empty", "The table has no device.")])
    repeated(devices, faults)
    taken(devices, faults)
    unknown_tags(devices, faults, viewer, may_add=may_add_tags)
    outside_limit(devices, faults, viewer)
    if faults:
        raise InvalidTable(sorted(faults, key=lambda fault: (fault.line, fault.column)))
    return devices


def decoded(body: bytes) -> str:
    """The text of the file. Raises InvalidTable."""
    if body.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise InvalidTable([Fault(1, "", "not_csv", "This is a spreadsheet. Save the sheet as CSV (UTF-8).")])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body[: error.start].count(b"\n") + 1
        detail = "The file is not in UTF-8. Save it as CSV UTF-8."
        raise InvalidTable([Fault(line, "", "not_utf8", detail)]) from error
    if "\0" in text:
        detail = "The file has NUL characters. Save it as CSV UTF-8."
        raise InvalidTable([Fault(text[: text.index("\0")].count("\n") + 1, "", "not_utf8", detail)])
    return text


def rows_of(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the cells by column of each row that is not empty. Raises InvalidTable for a wrong header or row."""
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    line, count = 1, 0
    faults: list[Fault] = []
    try:
        for cells in reader:
            row_line, line = line, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = header_of(row_line, cells)
                continue
            count += 1
            if count > DEVICES_MAX:
                detail = f"A table has at most {DEVICES_MAX:,} devices. Divide it."
                raise InvalidTable([Fault(row_line, "", "too_many_devices", detail)])
            if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                detail = f"The row has {len(cells)} cells, the header {len(header)}. Quote cells that have a comma."
                faults.append(Fault(row_line, "", "too_many_cells", detail))
                continue
            yield row_line, {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
    except csv.Error as error:
        detail = f"This is not CSV: {error}. A cell that has quotation marks is quoted, and they are doubled."
        raise InvalidTable([Fault(line, "", "not_csv", detail)]) from error
    if not header:
        raise InvalidTable([Fault(1, "", "empty", "The file is empty.")])
    if faults:
        raise InvalidTable(faults)


def header_of(line: int, cells: Sequence[str]) -> list[str]:
    """The names of the columns. Raises InvalidTable."""
    if len(cells) > COLUMNS_READ_MAX:
        raise InvalidTable([Fault(line, "", "too_many_cells", f"The first line has {len(cells):,} cells.")])
    names = [cell.strip().lower() for cell in cells]
    faults = []
    known = f"There are {', '.join(COLUMNS)}."
    for place, name in enumerate(names):
        if name not in COLUMNS:
            shown = name[:80] or f"column {place + 1}"
            faults.append(Fault(line, shown, "unknown_column", f"There is no such column. {known}"))
        elif name in names[:place]:
            faults.append(Fault(line, name, "repeated_column", "The column is there twice."))
    if "device_id" not in names:
        faults.append(Fault(line, "device_id", "required", f"The first line names the columns. {known}"))
    if faults:
        raise InvalidTable(faults)
    return names


def device_of(line: int, cells: dict[str, str], faults: list[Fault]) -> NewDevice | None:
    """The device of a row; None if it has faults, which are added."""
    values: dict[str, Any] = {}
    found: list[Fault] = []
    for name, cell in cells.items():
        try:
            values[name] = value_of(name, cell)
        except ValueError as error:
            found.append(Fault(line, name, "invalid", str(error)))
    row = RowSerializer(data=values)
    if not row.is_valid():
        named = {fault.column for fault in found}
        found += [
            Fault(line, name, getattr(detail, "code", "invalid"), str(detail))
            for name, details in row.errors.items()
            for detail in flat(details)
            if name not in named
        ]
    if found:
        faults.extend(found)
        return None
    fields = dict(row.validated_data)
    return NewDevice(line, fields, list(distinct(fields.pop("tags", [])).values()))


def value_of(name: str, cell: str) -> Any:
    """The value of a cell. Raises ValueError, whose text is for people."""
    if len(cell) > CELL_CHARACTERS_MAX:
        raise ValueError(f"The cell has {len(cell):,} characters.")
    if name == "tags":
        # One more is a fault; each name beyond would be a fault of its own, of which a body has room for millions.
        return split_names(cell)[: TAGS_OF_DEVICE_MAX + 1]
    if name not in WHOLE_NUMBERS and name not in DEGREES:
        return cell
    if not cell:
        return None
    if name in WHOLE_NUMBERS:
        if not WHOLE.fullmatch(cell):
            raise ValueError(f"{cell[:40]!r} is not a whole number.")
        return int(cell.partition(".")[0])
    if not DECIMAL.fullmatch(cell):
        raise ValueError(f"{cell[:40]!r} is not a number of degrees, such as 52.52.")
    return float(cell.replace(",", "."))


def flat(details: Any) -> Iterator[Any]:
    """The errors of a field; those of a list are by place."""
    if isinstance(details, dict):
        for inner in details.values():
            yield from flat(inner)
    elif isinstance(details, list):
        for inner in details:
            yield from flat(inner)
    else:
        yield details


def repeated(devices: Sequence[NewDevice], faults: list[Fault]) -> None:
    first: dict[str, int] = {}
    for device in devices:
        device_id = device.fields["device_id"]
        if device_id in first:
            detail = f"{device_id} is already on line {first[device_id]}."
            faults.append(Fault(device.line, "device_id", "repeated", detail))
        first.setdefault(device_id, device.line)


def taken(devices: Sequence[NewDevice], faults: list[Fault]) -> None:
    ids = {device.fields["device_id"] for device in devices}
    known = set(Device.objects.filter(device_id__in=ids).values_list("device_id", flat=True))
    for device in devices:
        if (device_id := device.fields["device_id"]) in known:
            detail = f"A device {device_id} exists already."
            faults.append(Fault(device.line, "device_id", "device_id_taken", detail))


def unknown_tags(devices: Sequence[NewDevice], faults: list[Fault], viewer: Viewer, *, may_add: bool) -> None:
    wanted = distinct(name for device in devices for name in device.tags)
    known = set(Tag.objects.visible_to(viewer).named(wanted.values()).values_list("key", flat=True))
    missing = [key for key in wanted if key not in known]
    if missing and not may_add:
        for device in devices:
            for key, name in distinct(device.tags).items():
                if key not in known:
                    detail = f"There is no tag {name!r}, and this account may not add one."
                    faults.append(Fault(device.line, "tags", "unknown_tag", detail))
    elif missing and Tag.objects.count() + len(missing) > TAGS_MAX:
        line = next(device.line for device in devices if missing[0] in distinct(device.tags))
        faults.append(Fault(line, "tags", "too_many_tags", f"There may be {TAGS_MAX:,} tags."))


def outside_limit(devices: Sequence[NewDevice], faults: list[Fault], viewer: Viewer) -> None:
    if viewer.limit is None:
        return
    tags = list(Tag.objects.named(name for device in devices for name in device.tags))
    wrong = {fault.line for fault in faults if fault.column == "tags"}
    for device in devices:
        keys = distinct(device.tags)
        try:
            check_limit(viewer, [], [tag for tag in tags if tag.key in keys])
        except OutsideLimit as error:
            if device.line not in wrong:
                faults.append(Fault(device.line, "tags", "outside_limit", str(error)))

"""The options of the command that describe the file, and their conversion to Options."""

import re
from argparse import ArgumentParser
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from devices.metrics import is_metric_name
from devices.validators import DEVICE_ID_PATTERN, is_device_id
from readings.ingest.csv_import.options import Options
from readings.ingest.csv_import.problems import InvalidFile, quoted

SEPARATORS = {",": ",", ";": ";", "|": "|", "tab": "\t"}


def add_file_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", default="", metavar="ID", help="the device of all rows, if the file has no column for it")
    add("--time", default="", metavar="COLUMN", help="the column that has the time (default: timestamp)")
    add(
        "--map",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="rename a column, to device_id, timestamp or the name of a metric; can be repeated",
    )
    add("--ignore", action="append", default=[], metavar="COLUMN", help="leave out a column; can be repeated")
    add("--tz", default="", metavar="ZONE", help="the zone of times without an offset, such as Europe/Berlin")
    add("--time-format", default="", metavar="FORMAT", help="the format of the times, such as '%%d/%%m/%%Y %%H:%%M'")
    add("--separator", default="", choices=SEPARATORS, help="the separator of the columns (default: detected)")
    add("--decimal", default="", choices=[".", ","], help="the decimal separator (default: detected)")
    add("--encoding", default="utf-8", help="the encoding, such as cp1252 or utf-16 (default: utf-8)")
    add("--skip-bad", action="store_true", help="also skip lines that cannot be decoded, instead of ending there")


def parse_options(arguments: dict[str, Any]) -> Options:
    """Raises InvalidFile for an option that no file can have."""
    device = arguments["device"]
    if device and not is_device_id(device):
        raise InvalidFile(f"--device {quoted(device)}: a device_id must match ^{DEVICE_ID_PATTERN}$.")
    return Options(
        device=device,
        time=arguments["time"],
        renamed=dict(renaming(text) for text in arguments["map"]),
        ignored=frozenset(arguments["ignore"]),
        zone=zone_of(arguments["tz"]),
        time_format=time_format_of(arguments["time_format"]),
        separator=SEPARATORS.get(arguments["separator"], ""),
        decimal=arguments["decimal"],
        encoding=arguments["encoding"],
        skip_bad=arguments["skip_bad"],
    )


def renaming(text: str) -> tuple[str, str]:
    old, _, new = text.rpartition("=")
    if not old:
        raise InvalidFile(f"--map {quoted(text)}: write OLD=NEW, such as --map Temp=temperature.")
    if new not in ("device_id", "timestamp", "id") and not is_metric_name(new):
        raise InvalidFile(
            f"--map {quoted(text)}: {quoted(new)} is not a metric name. A metric name matches ^[a-z][a-z0-9_]{{0,62}}$."
        )
    return old.strip(), new


def time_format_of(time_format: str) -> str:
    try:
        with suppress(ValueError):  # an empty text does not match
            datetime.strptime("", time_format)  # noqa: DTZ007
    except re.error as error:  # Python makes a regular expression of the format
        raise InvalidFile(f"--time-format {quoted(time_format)}: a part of the time is named twice.") from error
    return time_format


def zone_of(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidFile(f"--tz {quoted(name)}: there is no such zone. Write a name such as Europe/Berlin.") from error


def given(arguments: dict[str, Any], *, register: bool, dry_run: bool) -> list[str]:
    """The options as they were given, to be repeated in a proposal."""
    words = [name for name, value in (("--register", register), ("--dry-run", dry_run)) if value]
    for name in ("device", "time", "map", "ignore", "tz", "time_format", "separator", "decimal", "encoding"):
        values = arguments[name] if isinstance(arguments[name], list) else [arguments[name]]
        for value in values:
            if value and (name, value) != ("encoding", "utf-8"):
                words += [f"--{name.replace('_', '-')}", value]
    return [*words, "--skip-bad"] if arguments["skip_bad"] else words

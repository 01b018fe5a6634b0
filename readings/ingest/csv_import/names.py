"""Proposes names: which column has the device or the time, and what a column could be called as a metric."""

import re
from collections.abc import Collection, Sequence
from pathlib import PurePath

from devices.validators import is_device_id
from readings.ingest.csv_import.cells import is_absent
from readings.ingest.csv_import.times import is_time, proposed_format
from readings.ingest.folded_names import folded

# Names of columns as `folded` returns them.
DEVICES = {"device", "deviceid", "device_name", "sensor", "sensor_id", "node", "node_id", "mote", "mote_id", "host"}
DEVICES |= {"station", "station_id", "station_name", "entity_id", "site", "origin", "location", "gerat", "messstelle"}
TIMES = {"time", "ts", "t", "date", "datetime", "date_time", "day", "month", "year", "zeit", "datum", "zeitstempel"}
TIMES |= {"time_stamp", "time_hour", "created_at", "recorded_at", "measured_at", "observed_at", "last_changed", "epoch"}
# Names whose unit is known to be that of a column of the log.
COLUMN_NAMES = {
    "temperature": {"temperatur", "temp_c", "temperatur_c", "temperature_c", "temperature_celsius"},
    "humidity": {"feuchte", "luftfeuchte", "luftfeuchtigkeit", "humidity_percent", "luftfeuchte_percent"},
    "voltage": {"spannung", "spannung_v", "voltage_v"},
}


def metric_from(name: str) -> str:
    """The name of a metric for a column with this name."""
    name = folded(name)
    return next((column for column, alike in COLUMN_NAMES.items() if name in alike), name)


def unused(name: str, used: Collection[str]) -> str:
    """The name, with a number if it is used already."""
    number = 1
    candidate = name
    while candidate in used:
        number += 1
        candidate = f"{name[:60]}_{number}"
    return candidate


def device_from(file: str) -> str:
    """A device id made from the file's name."""
    stem = re.sub(r"[^A-Za-z0-9._:-]+", "-", PurePath(file).name.split(".")[0]).strip("-._:")
    return stem if is_device_id(stem) else "my-device"


def device_column(columns: dict[str, Sequence[str]]) -> str:
    """The column whose name and values are those of devices; empty if there is none. `columns`: values by name."""
    for name, cells in columns.items():
        if folded(name) in DEVICES and cells and all(is_device_id(cell) for cell in cells):
            return name
    return ""


def time_column(columns: dict[str, Sequence[str]]) -> tuple[str, str]:
    """The column that has times, and their format if it must be given; empty if there is none.

    A column with the name of a time is preferred to others.
    """
    found = {name: [cell for cell in cells if not is_absent(cell)] for name, cells in columns.items()}
    named = sorted((name for name in found if found[name]), key=lambda name: folded(name) not in TIMES)
    for name in named:
        if all(map(is_time, found[name])):
            return name, ""
    for name in named:
        if folded(name) in TIMES and (time_format := proposed_format(found[name])):
            return name, time_format
    return "", ""

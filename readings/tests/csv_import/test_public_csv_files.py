"""Real CSV files of other programs, imported with the commands in docs/import.md, come out again as they were."""

import csv
import gzip
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings

from devices.models import DeviceState
from readings.tests.imports import PUBLIC, Outcome, exported_rows

pytestmark = [pytest.mark.django_db, pytest.mark.once]

DOCUMENT = Path(settings.BASE_DIR, "docs", "import.md").read_text()
COMMAND = re.compile(
    r"^(?:awk (?P<program>.*) \| )?\.venv/bin/python manage\.py import_readings (?P<arguments>.*)$", re.MULTILINE
)
ABSENT = ("", "NA")


class Expected(NamedTuple):
    """How a test reads a file: device and time of a row, and the columns of each metric."""

    device: Callable[[dict[str, str]], str]
    time: Callable[[dict[str, str]], datetime]
    metrics: dict[str, str]


def local(column: str, form: str, zone: str = "UTC") -> Callable[[dict[str, str]], datetime]:
    return lambda row: datetime.strptime(row[column], form).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


WEATHER = same("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FILES = {
    "sf-temps.csv": Expected(
        lambda row: "san-francisco", local("date", "%Y/%m/%d %H:%M:%S", "America/Los_Angeles"), same("temp")
    ),
    "seattle-weather.csv": Expected(
        lambda row: "seattle",
        local("date", "%Y-%m-%d", "America/Los_Angeles"),
        same("precipitation", "temp_max", "temp_min", "wind"),
    ),
    "lincoln_weather.csv": Expected(
        lambda row: row["STATION"], local("DATE", "%Y-%m-%d"), {"t_max": "TMAX", "t_min": "TMIN"}
    ),
    "weather.csv": Expected(lambda row: row["origin"], local("time_hour", "%Y-%m-%dT%H:%M:%SZ"), WEATHER),
    "soiling_hsu_example_inputs.csv": Expected(
        lambda row: "pv-1",
        local("TimeStamp", "%Y-%m-%d %H:%M:%S", "Etc/GMT+5"),
        {"rain": "rain", "pm2_5": "PM2_5", "pm10": "PM10"},
    ),
    "sea_surface_temperature.csv.gz": Expected(
        lambda row: "b01", local("time (UTC)", "%Y-%m-%dT%H:%M:%SZ"), {"temperature": "temperature (celsius)"}
    ),
    "economics.csv": Expected(
        lambda row: "us", local("date", "%Y-%m-%d"), same("pce", "pop", "psavert", "uempmed", "unemploy")
    ),
    "co2.csv": Expected(lambda row: "mauna-loa", local("date", "%Y%m%d"), same("co2")),
    "singlehop.csv": Expected(
        lambda row: row["mote_id"],
        lambda row: datetime.fromtimestamp(1273363200 + 5 * int(row["reading"]), UTC),
        same("reading", "indoor", "humidity", "temperature", "label"),
    ),
}


def test_the_document_has_a_command_for_every_file_that_is_kept():
    assert FILES.keys() == {file.name for file in PUBLIC.iterdir()}
    for name in FILES:
        assert f"| `{name}` |" in DOCUMENT


@pytest.mark.parametrize("name", FILES)
def test_a_public_file_comes_out_as_it_went_in(name, monkeypatch):
    (command,) = (match for match in COMMAND.finditer(DOCUMENT) if name in shlex.split(match[0]))
    file, *arguments = shlex.split(command["arguments"])
    if command["program"]:
        made = subprocess.run(["awk", *shlex.split(command["program"])], cwd=PUBLIC, capture_output=True, check=True)
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(made.stdout)))
        outcome = Outcome("-", *arguments)
    else:
        outcome = Outcome(PUBLIC / file, *arguments)

    raw = (PUBLIC / name).read_bytes()
    rows = list(csv.DictReader((gzip.decompress(raw) if name.endswith(".gz") else raw).decode().splitlines()))
    expected = FILES[name]
    wanted = sorted(
        (expected.device(row), expected.time(row), sorted(values_of(row, expected.metrics).items()))
        for row in rows
        if any(row[column] not in ABSENT for column in expected.metrics.values())
    )
    refused = len(rows) - len(wanted)
    assert len(wanted) > 30
    assert outcome.said.startswith(f"{len(wanted)} stored, 0 stored before, {refused} refused")
    assert bool(outcome.failure) == bool(refused)
    assert f"First time: {min(time for _, time, _ in wanted):%Y-%m-%dT%H:%M:%S.%fZ}." in outcome.said
    found = sorted(
        (
            row["device_id"],
            datetime.fromisoformat(row["timestamp"]),
            sorted(values_of(row, same(*expected.metrics)).items()),
        )
        for device in {device for device, _, _ in wanted}
        for row in exported_rows(device)
    )
    assert found == wanted
    assert {state.last_seen_at for state in DeviceState.objects.all()} == {None}


def values_of(row: dict[str, str], columns: dict[str, str]) -> dict[str, float]:
    return {name: float(row[column]) for name, column in columns.items() if row.get(column, "") not in ABSENT}

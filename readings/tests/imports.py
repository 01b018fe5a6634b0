"""Runs the import command, and exports what it stored."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.test import AsyncClient

from devices.tests.fixtures import ADMIN_KEY
from readings.models import Reading

DATA = Path(__file__).parent / "data" / "csv"
CASES, PUBLIC = DATA / "cases", DATA / "public"


class Outcome:
    """The output of the command; `failure` is empty if it succeeded."""

    def __init__(self, file: Path | str, *arguments: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.failure = ""
        try:
            call_command("import_readings", str(file), *arguments, stdout=out, stderr=err)
        except CommandError as error:
            self.failure = str(error)
        self.said, self.problems = out.getvalue(), err.getvalue().splitlines()


def stored() -> list[tuple[Any, ...]]:
    """Device, time to the minute, temperature and humidity of all readings, in the order of their times."""
    rows = Reading.objects.order_by("timestamp", "seq").values_list("device_id", "timestamp", "temperature", "humidity")
    return [(device, f"{time:%Y-%m-%dT%H:%M}", *values) for device, time, *values in rows]


def export(device_id: str) -> bytes:
    """The device's history as CSV, oldest first."""

    async def download() -> bytes:
        query = {"format": "csv", "order": "asc"}
        response: Any = await AsyncClient().get(
            f"/api/v1/devices/{device_id}/history", query, headers={"X-API-Key": ADMIN_KEY}
        )
        return b"".join([part async for part in response])

    return async_to_sync(download)()


def exported_rows(device_id: str) -> Iterator[dict[str, str]]:
    return csv.DictReader(io.StringIO(export(device_id).decode(), newline=""))

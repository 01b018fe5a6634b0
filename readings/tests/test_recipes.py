"""The answers contain what docs/recipes.md tells other tools to read."""

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.test import AsyncClient

from devices.tests.fixtures import ADMIN_KEY
from readings.tests.logs import at, new, store

pytestmark = pytest.mark.django_db(transaction=True)

RECIPES = Path(settings.BASE_DIR, "docs", "recipes.md").read_text()


def selected(document: Any, path: str) -> Any:
    """Selects a value like the Infinity plugin: names separated by dots."""
    for name in path.split("."):
        document = document[name]
    return document


def test_grafana_finds_times_and_numbers_where_the_recipe_says(admin, device):
    store(new(timestamp=at(n * 60), temperature=n / 4) for n in range(60))
    parameters = dict(re.findall(r"^   \| `(\w+)` \| `([^`]+)` \|$", RECIPES, re.MULTILINE))
    assert parameters.keys() == {"start", "end", "bucket", "points", "metrics"}
    # The values that Grafana inserts for its variables.
    parameters |= {"start": "2026-05-09T11:00:00.000Z", "end": "2026-05-09T14:00:00.000Z"}
    answer = admin.get("/api/v1/devices/mote-1/aggregate", parameters).json()
    rows = answer[re.search(r"\*Rows / root\*: `(\w+)`", RECIPES)[1]]  # type: ignore[index]
    columns = re.findall(r"^   \| `([\w.]+)` \| \w+ \| (Time|Number) \|$", RECIPES, re.MULTILINE)
    assert len(columns) == 4
    assert len(rows) == 60
    for row in rows:
        for selector, form in columns:
            assert isinstance(selected(row, selector), str if form == "Time" else float | int)


def test_a_spreadsheet_reads_the_csv(device):
    store(new(timestamp=at(n), temperature=n / 4, extra={"rssi": -n}) for n in range(20))
    query = dict(pair.split("=") for pair in re.search(r"history\?(start=[^\"]+)\"", RECIPES)[1].split("&"))  # type: ignore[index, misc]
    query["start"] = at(0).isoformat()

    async def download() -> bytes:
        response: Any = await AsyncClient().get(
            "/api/v1/devices/mote-1/history", query, headers={"X-API-Key": ADMIN_KEY}
        )
        return b"".join([part async for part in response])

    rows = list(csv.DictReader(io.StringIO(async_to_sync(download)().decode(), newline="")))
    assert [float(row["temperature"]) for row in rows] == [n / 4 for n in range(20)]
    assert {row["device_id"] for row in rows} == {"mote-1"}

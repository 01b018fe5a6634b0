"""The answers contain what docs/recipes.md tells other tools to read."""

import csv
import io
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
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


def yaml_of(heading: str) -> Any:
    section = RECIPES[RECIPES.index(f"\n## {heading}\n") :]
    return yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, re.DOTALL)[1])  # type: ignore[index]


@pytest.mark.parametrize("newest", [{"extra": {"battery": 88}}, {"humidity": 41.0}, {"temperature": 22.5}])
def test_home_assistant_finds_each_metric_whatever_the_newest_reading_has(newest, admin, device):
    """The templates' expressions are also Python, except for Home Assistant's own functions."""
    store([new(timestamp=at(0), temperature=21.5), new(timestamp=at(60), **newest)])
    answer = admin.get("/api/v1/devices/mote-1/latest").json()
    expected = {"temperature": 21.5, "humidity": None} | {
        name: value for name, value in newest.items() if name != "extra"
    }
    sensors = yaml_of("Home Assistant")["rest"][0]["sensor"]
    found = {
        sensor["device_class"]: eval(sensor["value_template"].strip("{ }"), {"value_json": answer})
        for sensor in sensors
    }
    assert found == expected


def test_esphome_finds_the_newest_temperature_in_a_short_answer(admin, device):
    store(
        [
            new(timestamp=at(0), temperature=21.5, extra={f"metric_with_a_long_name_{n}": n for n in range(32)}),
            new(timestamp=at(60), humidity=40.0, extra={"battery": 88}),
        ]
    )
    request = yaml_of("ESPHome")["interval"][0]["then"][0]["http_request.get"]
    answer = admin.get("/api/v1/devices/mote-1/history?" + request["url"].partition("?")[2])
    assert answer.json()["results"][0]["temperature"] == 21.5
    assert len(answer.content) < 1000  # ESPHome's default for max_response_buffer_size


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
    assert [datetime.strptime(row["timestamp"], "%Y-%m-%d %H:%M:%S.%f").minute for row in rows] == [0] * 20  # noqa: DTZ007

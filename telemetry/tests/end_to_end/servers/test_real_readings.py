"""Six hours of readings of four real motes, posted over HTTP; data/README.md names their source."""

import asyncio
import csv
import json
import time
import uuid
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets

from telemetry.tests.support.servers.server import ADMIN_KEY, Server

FILE = Path(__file__).parents[2] / "data" / "singlehop.csv"
SPACING_SECONDS = 5
BATCH = 500
METRICS = ("temperature", "humidity")
WATCHED = "3"

Readings = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def motes() -> Readings:
    """The readings of each mote, in the order of the file, with the same ids in every run."""
    readings: Readings = defaultdict(list)
    with FILE.open() as file:
        for row in csv.DictReader(file):
            identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"singlehop/{row['mote_id']}/{row['reading']}")
            values = {metric: float(row[metric]) for metric in METRICS}
            readings[row["mote_id"]].append({"id": str(identifier)} | values)
    assert sum(map(len, readings.values())) == 18_914
    return readings


@pytest.mark.e2e
def test_all_of_four_motes_arrives_once_and_adds_up(motes: Readings, tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        asyncio.run(tell_the_story(server, motes))


async def tell_the_story(server: Server, motes: Readings) -> None:
    async with httpx.AsyncClient(base_url=f"{server.url}/api/v1", timeout=60) as client:
        keys = {mote: await register(client, mote) for mote in motes}
        # Whole hours plus 2.5 s, so that the duration of a post moves no reading into another hour.
        first = time.time() // 3600 * 3600 - 8 * 3600 + SPACING_SECONDS / 2
        seen: list[int] = []
        watcher = asyncio.create_task(watch(server, keys[WATCHED], seen, until=len(motes[WATCHED])))
        results = await asyncio.gather(*(post(client, keys[mote], motes[mote], first) for mote in motes))
        assert [sum(r["accepted"] for r in result) for result in results] == [len(motes[mote]) for mote in motes]

        await asyncio.wait_for(watcher, 60)
        assert len(motes[WATCHED]) == 5039
        assert seen == list(range(1, 5040))

        await statistics_match(client, motes, first)
        await history_is_whole(client, motes["1"])

        again = await asyncio.gather(*(post(client, keys[mote], motes[mote], first) for mote in motes))
        assert {r["accepted"] for result in again for r in result} == {0}
        assert sum(r["duplicates"] for result in again for r in result) == 18_914
        await statistics_match(client, motes, first)
        for mote in motes:
            device = (await client.get(f"/devices/mote-{mote}", headers={"X-API-Key": keys[mote]})).json()
            assert device["last_seq"] == len(motes[mote])


async def register(client: httpx.AsyncClient, mote: str) -> str:
    response = await client.post("/devices", json={"device_id": f"mote-{mote}"}, headers={"X-API-Key": ADMIN_KEY})
    assert response.status_code == 201, response.text
    return str(response.json()["api_key"])


async def post(client: httpx.AsyncClient, key: str, readings: list[dict[str, Any]], first: float) -> list[Any]:
    """Posts a mote's readings in batches; the age of each comes from its place in the file."""
    answers = []
    for start in range(0, len(readings), BATCH):
        now = time.time()
        batch = [
            reading | {"age_seconds": now - (first + SPACING_SECONDS * (start + place))}
            for place, reading in enumerate(readings[start : start + BATCH])
        ]
        response = await client.post("/ingest/batch", json=batch, headers={"X-API-Key": key})
        assert response.status_code == 201, response.text
        answers.append(response.json())
    return answers


async def watch(server: Server, key: str, seen: list[int], *, until: int) -> None:
    url = f"{server.url.replace('http', 'ws')}/api/v1/realtime/subscribe/mote-{WATCHED}?after=0"
    async with websockets.connect(url, additional_headers={"X-API-Key": key}, max_size=None) as socket:
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] == "readings":
                seen += [reading["seq"] for reading in frame["readings"]]
            if seen and seen[-1] >= until:
                return


async def statistics_match(client: httpx.AsyncClient, motes: Readings, first: float) -> None:
    """Compares `aggregate`, in total and by hour, with the file."""
    for mote, readings in motes.items():
        window = {"start": int(first) - 3600, "end": int(first) + 8 * 3600}
        url = f"/devices/mote-{mote}/aggregate"
        total = (await client.get(url, params=window, headers={"X-API-Key": ADMIN_KEY})).json()["metrics"]
        hourly = (await client.get(url, params=window | {"bucket": "1h"}, headers={"X-API-Key": ADMIN_KEY})).json()
        found = {datetime.fromisoformat(bucket["start"]): bucket["metrics"] for bucket in hourly["buckets"]}
        for metric in METRICS:
            expect(total[metric], [reading[metric] for reading in readings])
            hours: dict[datetime, list[float]] = defaultdict(list)
            for place, reading in enumerate(readings):
                moment = datetime.fromtimestamp((first + SPACING_SECONDS * place) // 3600 * 3600, UTC)
                hours[moment].append(reading[metric])
            assert found.keys() == hours.keys()
            for moment, values in hours.items():
                expect(found[moment][metric], values)


def expect(statistics: dict[str, float], values: list[float]) -> None:
    assert statistics["count"] == len(values)
    assert statistics["min"] == min(values)
    assert statistics["max"] == max(values)
    assert statistics["sum"] == pytest.approx(sum(values), rel=1e-12)
    assert statistics["avg"] == pytest.approx(sum(values) / len(values), rel=1e-12)


async def history_is_whole(client: httpx.AsyncClient, readings: list[dict[str, Any]]) -> None:
    """Pages through the whole log of mote 1, oldest first."""
    url: str | None = "/devices/mote-1/history?order=asc&limit=700"
    pages = []
    while url:
        page = (await client.get(url, headers={"X-API-Key": ADMIN_KEY})).json()
        pages.append(page["results"])
        url = page["next"]
    log = [reading for page in pages for reading in page]
    assert len(pages) == -(-len(readings) // 700)
    assert [reading["seq"] for reading in log] == list(range(1, len(readings) + 1))
    assert [{name: reading[name] for name in ("id", *METRICS)} for reading in log] == readings

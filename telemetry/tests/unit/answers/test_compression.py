"""Answers of the API over 1 KiB are compressed for a client that accepts it, and are otherwise the same."""

import gzip
import json
import zlib
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient

from devices.api.compression import accepts_gzip
from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, client_with
from readings.history import csv_export
from readings.tests.logs import at, new, store
from telemetry.gateway import ingest_lane
from telemetry.tests.support.clients.lanes import through_the_lane

pytestmark = [pytest.mark.django_db, pytest.mark.once]

MOTE = "/api/v1/devices/mote-1"
GZIP = {"Accept-Encoding": "gzip, deflate, br"}


@pytest.mark.once
@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        *(("gzip", True), ("GZIP", True), ("x-gzip", True), ("br, gzip", True), ("gzip;q=0.5", True), ("*", True)),
        *(("deflate , gzip ; q=0.001", True), ("identity;q=0.5, *;q=0.8", True), ("gzip, identity", True)),
        *(("", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.0, *", False), ("identity", False)),
        *(("*;q=0", False), ("identity;q=1,chunked;q=0.1,*;q=0", False), ("gzip;q=0.4, identity;q=0.5", False)),
        *(("gzip;q=high", False), ("gzipped", False), (";", False), (",,;=,", False)),
    ],
)
def test_a_client_accepts_gzip_if_its_header_says_so(header, accepted):
    assert accepts_gzip(header) is accepted


@pytest.fixture
def log(device):
    store([new(timestamp=at(n), temperature=n / 3, extra={"rssi": -n}) for n in range(600)])


@pytest.mark.parametrize(
    "path",
    [
        f"{MOTE}/history",
        f"{MOTE}/history?limit=600",
        f"{MOTE}/aggregate?start=2026-05-09&end=2026-05-10&bucket=1m",
        "/api/v1/schema",
        f"{MOTE}/history?" + "&".join(f"unknown_{n}=1" for n in range(20)),  # a problem document
    ],
)
def test_a_large_answer_is_compressed_for_who_accepts_it(admin, log, path):
    plain = admin.get(path, headers={"X-Request-ID": "same"})
    compressed = admin.get(path, headers=GZIP | {"X-Request-ID": "same"})

    assert "Content-Encoding" not in plain
    assert compressed["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.content) == plain.content
    assert int(compressed["Content-Length"]) == len(compressed.content) < len(plain.content) / 2
    for answer in (plain, compressed):
        assert "Accept-Encoding" in answer["Vary"]
        assert answer.status_code == plain.status_code
        assert answer["Content-Type"] == plain["Content-Type"]


def test_a_small_answer_is_not(admin, log):
    for path in (MOTE, f"{MOTE}/history?limit=5", f"{MOTE}/nothing", "/api/v1/health"):
        answer = admin.get(path, headers=GZIP)
        assert len(answer.content) <= 1024
        assert "Content-Encoding" not in answer
    assert "Content-Encoding" in admin.get(f"{MOTE}/history?limit=10", headers=GZIP)


def test_an_answer_with_a_new_key_or_a_ticket_is_not(admin):
    asked = ("/api/v1/devices", {"device_id": "mote-2", "name": "𝄞" * 255})
    answers = [admin.post(*asked, headers=GZIP) for asked in (asked, ("/api/v1/devices/mote-2/rotate-key", {}))]
    answers.append(admin.post("/api/v1/realtime/tickets", {}, headers=GZIP))
    assert max(len(answer.content) for answer in answers) > 1024
    assert not any("Content-Encoding" in answer for answer in answers)


def test_a_page_is_not(admin, device):
    page = client_with(None).get("/docs", headers=GZIP)
    assert len(page.content) > 1024
    assert "Content-Encoding" not in page


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("readings", [[{"temperature": 1}] + [{}] * 120, [{"Bad name": 1}] * 120])
def test_a_batch_with_many_rejections_has_a_compressed_answer_in_the_lane_too(mote, monkeypatch, readings, heavy):
    monkeypatch.setattr(ingest_lane, "LIGHT_ANSWER_BYTES", 0 if heavy else 1 << 20)
    headers = {"X-API-Key": mote[1], "X-Request-ID": "same"}

    async def post(client: Any) -> Any:
        return [
            await client.post("/ingest/batch", json=readings, headers=headers | {"Accept-Encoding": accepted})
            for accepted in ("gzip", "identity")
        ]

    lane, plain = through_the_lane(post)
    ordinary = client_with(mote[1]).post("/api/v1/ingest/batch", readings, headers=GZIP)

    assert lane.status_code == ordinary.status_code == plain.status_code
    assert lane.headers["Content-Encoding"] == ordinary["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert int(lane.headers["Content-Length"]) < len(plain.content) / 3
    for answer in (lane.json(), json.loads(gzip.decompress(ordinary.content))):
        assert (answer["rejected_count"], len(answer["rejected"])) == (120, 100)
        assert answer["rejected"] == plain.json()["rejected"]


async def streamed(headers: dict[str, str]) -> tuple[Any, list[bytes]]:
    response: Any = await AsyncClient().get(f"{MOTE}/history?format=csv", headers={"X-API-Key": ADMIN_KEY} | headers)
    return response, [part async for part in response]


def test_an_export_is_compressed_piece_by_piece(log, monkeypatch):
    monkeypatch.setattr(csv_export, "PAGE_READINGS", 300)
    _, plain = async_to_sync(streamed)({})
    response, parts = async_to_sync(streamed)(GZIP)

    assert response["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in response["Vary"]
    decompressor = zlib.decompressobj(wbits=31)
    # Each piece can be read when it arrives.
    assert [decompressor.decompress(part) for part in parts] == [*plain, b""]
    assert decompressor.eof
    assert sum(map(len, parts)) < sum(map(len, plain)) / 2


def test_an_export_of_nothing_is_complete_too(device):
    _, parts = async_to_sync(streamed)(GZIP)
    assert gzip.decompress(b"".join(parts)).startswith(b"id,seq,device_id,timestamp")
    assert Device.objects.count() == 1

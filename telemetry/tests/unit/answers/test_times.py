"""Every time in an answer has six digits of the second and Z, also one on a whole second."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from hypothesis import example, given
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.fixtures import ADMIN_KEY, client_with, staff_client
from devices.times import encodable, rfc3339
from readings.models import Reading
from readings.tests.logs import NOON
from realtime.protocol.frames import documents

WRITTEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d[0-9:.]*(?:Z|[+-]\d\d:?\d\d)?")
EXACT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
ID = "0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b"
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.once
@given(st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 1), timezones=OFFSETS))  # noqa: DTZ001
@example(NOON)
@example(NOON + timedelta(microseconds=500_000))
def test_a_time_is_written_exactly_and_always_in_one_form(moment):
    written = rfc3339(moment)
    assert EXACT.fullmatch(written)
    assert datetime.fromisoformat(written) == moment
    assert msgspec.json.encode(encodable(moment.astimezone(UTC))).decode() == f'"{written}"'


async def exported() -> str:
    response: Any = await AsyncClient().get(
        "/api/v1/devices/mote-1/history", {"format": "csv"}, headers={"X-API-Key": ADMIN_KEY}
    )
    return b"".join([part async for part in response]).decode()


def answers(key: str) -> Iterator[tuple[str, int]]:
    """Each answer that has times, and how many it has at least."""
    admin, device = client_with(ADMIN_KEY), client_with(key)
    reading = {"id": ID, "temperature": 21.5, "rssi": -67}
    yield device.post("/api/v1/ingest", reading).content.decode(), 1
    yield device.post("/api/v1/ingest", reading).content.decode(), 1
    yield device.post("/api/v1/ingest/batch", [{"temperature": 1, "age_seconds": 60}, {}]).content.decode(), 1
    yield admin.get("/api/v1/devices").content.decode(), 3
    yield admin.post("/api/v1/devices", {"device_id": "mote-2"}).content.decode(), 1
    mote = "/api/v1/devices/mote-1"
    yield admin.get(mote).content.decode(), 3
    yield admin.patch(mote, {"name": "Shed"}).content.decode(), 3
    yield admin.get(f"{mote}/latest").content.decode(), 3
    page = admin.get(f"{mote}/history?limit=1&order=asc&start=-1h&end=%2B1m")
    yield page.content.decode().replace("%3A", ":"), 5  # with those in `next`
    yield admin.get(f"{mote}/aggregate").content.decode(), 2
    yield admin.get(f"{mote}/aggregate?bucket=1m&fill=null&start=-1h&end=%2B1m").content.decode(), 63
    yield admin.get(f"{mote}/history", {"start": "now", "end": "-1h"}).content.decode(), 2
    yield admin.post("/api/v1/realtime/tickets", {"device_id": "mote-1"}).content.decode(), 1
    yield admin.post(f"{mote}/rotate-key", {}).content.decode(), 1
    yield admin.post(f"{mote}/rotate-key", {}).content.decode(), 1
    yield async_to_sync(exported)(), 2
    yield documents(Reading.objects.all()), 2
    chosen = [str(device.pk) for device in Device.objects.all()]
    console = staff_client("viewer", "devices.view_device", "readings.view_reading")
    export = {"action": "export", "_selected_action": chosen}
    yield console.post("/admin/devices/device/", export, format="multipart").content.decode(), 1


@pytest.mark.django_db
@pytest.mark.parametrize("microsecond", [0, 309_930])
def test_every_answer_writes_times_in_one_form(monkeypatch, microsecond):
    moment = NOON.replace(microsecond=microsecond)
    monkeypatch.setattr("django.utils.timezone.now", lambda: moment)
    _, key = Device.objects.register(device_id="mote-1")
    for answer, count in answers(key):
        found = WRITTEN.findall(answer)
        assert [text for text in found if not EXACT.fullmatch(text)] == [], answer[:500]
        assert len(found) >= count, answer[:500]

"""Refused posts in the ingest lane: a flood from one caller does not displace those of others."""

import asyncio
from itertools import count
from typing import Any

import httpx
import pytest

from devices.tests.fixtures import FLEET_KEY
from readings.ingest import refused_posts
from readings.models import Rejection

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = 2600
AT_ONCE = 100


async def written(lane: Any) -> None:
    """Waits until all refused posts so far are in the table."""
    keeper = lane.shared[asyncio.get_running_loop()].rejections
    while keeper.writing is not None:
        await keeper.writing


@pytest.mark.slow
def test_a_gateway_that_names_2600_devices_there_are_not_takes_nobody_elses_place(mote, other_device, monkeypatch):
    from telemetry.asgi import application, lane

    monkeypatch.setattr(refused_posts, "WRITE_SECONDS", 0.05)
    fields = (f"metric_{n}" for n in count())

    def client(address: str, key: str | None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=application, client=(address, 1))  # type: ignore[arg-type]
        headers = {} if key is None else {"X-API-Key": key}
        return httpx.AsyncClient(transport=transport, base_url="http://testserver/api/v1", headers=headers)

    gateway, colleague = client("10.0.0.1", FLEET_KEY), client("10.0.0.2", FLEET_KEY)
    device, stranger = client("10.0.0.3", mote[1]), client("10.0.0.4", None)

    async def others() -> None:
        """Each of these is refused for another reason; some readings are the gateway's own."""
        field = next(fields)
        answers = await asyncio.gather(
            device.post("/ingest", json={field: "warm"}),
            gateway.post("/ingest", json={"device_id": "mote-2", field: "warm"}),
            colleague.post("/ingest", json={"device_id": f"theirs-{field}", "temperature": 1}),
            stranger.post("/ingest", json={"temperature": 1}, headers={"X-API-Key": f"tlm_{field[7:]:0>4}"}),
        )
        assert [answer.status_code for answer in answers] == [422, 422, 422, 401]

    async def flood() -> None:
        await others()
        for first in range(0, NAMES, AT_ONCE):
            names = [f"ghost-{name}" for name in range(first, first + AT_ONCE)]
            posts = [gateway.post("/ingest", json={"device_id": name, "temperature": 1}) for name in names]
            meanwhile = others() if first % 400 == 0 else written(lane)
            answers, _ = await asyncio.gather(asyncio.gather(*posts), meanwhile)
            assert {answer.status_code for answer in answers} == {422}
        await others()
        await written(lane)

    asyncio.run(flood())

    told = next(fields).removeprefix("metric_")
    kept = Rejection.objects.exclude(device_id__startswith="ghost-")
    assert kept.filter(caller="device", device_id="mote-1").count() == int(told)
    assert kept.filter(caller="fleet", device_id="mote-2", address="10.0.0.1").count() == int(told)
    assert kept.filter(caller="fleet", device_id__startswith="theirs-").count() == int(told)
    assert kept.filter(caller="nobody", key_hint__startswith="tlm_").count() == int(told)
    ghosts = Rejection.objects.filter(device_id__startswith="ghost-").count()
    assert 0 < ghosts <= refused_posts.KEPT_OF_A_SHARE["unknown"]

"""From the commit to the channel layer: what is said of new readings, and what happens when nobody listens."""

import asyncio
import json
import time
from typing import Any

import pytest

from readings.models import Reading
from readings.tests.logs import new, store
from realtime import frames, receivers
from realtime.groups import device_group
from realtime.tests.sockets import in_a_loop, measure, watching

pytestmark = pytest.mark.django_db


class Layer:
    """A channel layer that remembers, raises or hangs."""

    def __init__(self, *, raises: Exception | None = None, hangs: bool = False) -> None:
        self.raises, self.hangs = raises, hangs
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if self.raises:
            raise self.raises
        if self.hangs:
            await asyncio.Event().wait()
        self.sent.append((group, message))


def use(monkeypatch, layer):
    monkeypatch.setattr(receivers, "get_channel_layer", lambda: layer)
    return layer


def test_each_device_has_a_group_of_its_own(device, other_device, monkeypatch):
    layer = use(monkeypatch, Layer())
    store([new("mote-1"), new("mote-2"), new("mote-1")])
    stretches = {group: (message["first_seq"], message["last_seq"]) for group, message in layer.sent}
    assert stretches == {device_group(device.pk): (1, 2), device_group(other_device[0].pk): (1, 1)}
    assert len(layer.sent) == 2


def test_a_message_carries_the_frame_as_text(device, monkeypatch):
    layer = use(monkeypatch, Layer())
    store([new(temperature=1.0), new(humidity=2.0)])
    ((_, message),) = layer.sent
    assert message.keys() == {"type", "first_seq", "last_seq", "frame"}
    frame = json.loads(message["frame"])
    assert (frame["type"], frame["device_id"]) == ("readings", "mote-1")
    assert [(r["seq"], r.get("temperature"), r.get("humidity")) for r in frame["readings"]] == [
        (1, 1, None),
        (2, None, 2),
    ]


def test_a_batch_is_told_in_messages_of_a_frame_each(device, monkeypatch):
    monkeypatch.setattr(frames, "READINGS_PER_FRAME", 3)
    layer = use(monkeypatch, Layer())
    store([new() for _ in range(8)])
    assert [(message["first_seq"], message["last_seq"]) for _, message in layer.sent] == [(1, 3), (4, 6), (7, 8)]
    assert [len(json.loads(message["frame"])["readings"]) for _, message in layer.sent] == [3, 3, 2]


def test_nothing_is_told_of_what_was_stored_before(device, as_device, monkeypatch):
    layer = use(monkeypatch, Layer())
    reading = {"id": "01890000-0000-7000-8000-000000000001", "temperature": 1}
    assert as_device.post("/api/v1/ingest", reading).status_code == 201
    assert as_device.post("/api/v1/ingest", reading).status_code == 200
    assert len(layer.sent) == 1


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_a_message_is_encoded_once_for_all_who_watch(device, monkeypatch):
    encoded: list[list[int]] = []
    encode = frames.readings

    def counting(device_id: str, entries: list[Any]) -> str:
        encoded.append([entry.seq for entry in entries])
        return encode(device_id, entries)

    monkeypatch.setattr(frames, "readings", counting)
    async with watching("mote-1") as one, watching("mote-1") as two, watching("mote-1") as three:
        watchers = (one, two, three)
        for socket in watchers:
            await socket.frame()
        await measure(4)
        assert [await socket.seqs(4) for socket in watchers] == [[1, 2, 3, 4]] * 3
    assert encoded == [[1], [2], [3], [4]]


@pytest.mark.parametrize(
    "layer",
    [
        pytest.param(Layer(raises=ConnectionError("no Redis")), id="raises"),
        pytest.param(Layer(raises=RuntimeError("of any kind")), id="raises anything"),
        pytest.param(Layer(hangs=True), id="hangs"),
    ],
)
@pytest.mark.parametrize(("path", "body"), [("ingest", {"temperature": 1}), ("ingest/batch", [{"temperature": 1}] * 2)])
def test_a_layer_that_is_away_fails_no_write_and_is_logged(as_device, monkeypatch, caplog, layer, path, body):
    monkeypatch.setattr(receivers, "ANNOUNCE_SECONDS", 0.05)
    use(monkeypatch, layer)
    started = time.monotonic()
    response = as_device.post(f"/api/v1/{path}", body)
    assert time.monotonic() - started < 1.5
    assert response.status_code == 201
    assert Reading.objects.count() == (1 if path == "ingest" else 2)
    (record,) = [record for record in caplog.records if record.name == "realtime.receivers"]
    assert record.levelname == "WARNING"
    assert "stored but not announced" in record.getMessage()

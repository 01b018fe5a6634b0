"""Announcing new readings on the channel layer: the messages, and what happens if the layer fails."""

import asyncio
import json
import time
from typing import Any

import pytest

from readings.models import Reading
from readings.tests.logs import new, store
from realtime.announcing import receivers
from realtime.protocol import frames
from realtime.protocol.groups import FLEET_GROUP, device_group
from realtime.tests.sockets import in_a_loop, measure, watching

pytestmark = pytest.mark.django_db


class Layer:
    """A channel layer that remembers, raises or hangs."""

    def __init__(self, *, raises: Exception | None = None, hangs: bool = False) -> None:
        self.raises, self.hangs = raises, hangs
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.tries = 0

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.tries += 1
        if self.raises:
            raise self.raises
        if self.hangs:
            await asyncio.Event().wait()
        self.sent.append((group, message))


def use(monkeypatch, layer):
    monkeypatch.setattr(receivers, "get_channel_layer", lambda: layer)
    return layer


def seq_ranges(message):
    """The ranges of a message as (device, first, last, readings)."""
    return [(device, first, last, json.loads(f"[{text}]")) for device, first, last, text in message["stretches"]]


def to_devices(layer):
    return [(group, message) for group, message in layer.sent if group != FLEET_GROUP]


def test_each_device_has_a_group_of_its_own(device, other_device, monkeypatch):
    layer = use(monkeypatch, Layer())
    store([new("mote-1"), new("mote-2"), new("mote-1")])
    told = {group: [seq_range[:3] for seq_range in seq_ranges(message)] for group, message in to_devices(layer)}
    assert told == {device_group(device.pk): [("mote-1", 1, 2)], device_group(other_device[0].pk): [("mote-2", 1, 1)]}


def test_the_fleet_is_told_of_many_devices_at_once(device, other_device, monkeypatch):
    layer = use(monkeypatch, Layer())
    store([new("mote-1"), new("mote-2"), new("mote-1")])
    (message,) = [message for group, message in layer.sent if group == FLEET_GROUP]
    assert [seq_range[:3] for seq_range in seq_ranges(message)] == [("mote-1", 1, 2), ("mote-2", 1, 1)]


def test_a_message_carries_the_readings_encoded(device, monkeypatch):
    layer = use(monkeypatch, Layer())
    store([new(temperature=1.0), new(humidity=2.0)])
    ((_, message),) = to_devices(layer)
    ((_, _, _, readings),) = seq_ranges(message)
    assert [(r["seq"], r.get("temperature"), r.get("humidity")) for r in readings] == [(1, 1, None), (2, None, 2)]


def test_a_batch_is_told_in_messages_of_a_frame_each(device, monkeypatch):
    monkeypatch.setattr(frames, "READINGS_PER_FRAME", 3)
    layer = use(monkeypatch, Layer())
    store([new() for _ in range(8)])
    for messages in (
        [message for _, message in to_devices(layer)],
        [message for group, message in layer.sent if group == FLEET_GROUP],
    ):
        assert [seq_range[1:3] for message in messages for seq_range in seq_ranges(message)] == [(1, 3), (4, 6), (7, 8)]
        assert len(messages) == 3


def test_readings_of_many_metrics_are_told_in_more_messages(device, monkeypatch):
    monkeypatch.setattr(frames, "DOCUMENTS_PER_FRAME", 1_000)
    layer = use(monkeypatch, Layer())
    store([new(extra={f"metric_{n}": 1.5 for n in range(20)}) for _ in range(8)])
    texts = [text for _, message in to_devices(layer) for *_, text in message["stretches"]]
    assert len(texts) > 1
    assert max(map(len, texts)) <= 1_000


def test_nothing_is_told_of_what_was_stored_before(device, as_device, monkeypatch):
    layer = use(monkeypatch, Layer())
    reading = {"id": "01890000-0000-7000-8000-000000000001", "temperature": 1}
    assert as_device.post("/api/v1/ingest", reading).status_code == 201
    assert as_device.post("/api/v1/ingest", reading).status_code == 200
    assert len(to_devices(layer)) == 1


@pytest.mark.django_db(transaction=True)
@in_a_loop
async def test_a_message_is_encoded_once_for_all_who_watch(device, monkeypatch):
    encoded: list[list[int]] = []
    encode = frames.documents

    def counting(entries: Any) -> str:
        encoded.append([entry.seq for entry in entries])
        return encode(entries)

    monkeypatch.setattr(frames, "documents", counting)
    async with watching("mote-1") as one, watching("mote-1") as two, watching("mote-1") as three:
        watchers = (one, two, three)
        for socket in watchers:
            await socket.frame()
        await measure(4)
        assert [await socket.seqs(4) for socket in watchers] == [[1, 2, 3, 4]] * 3
    assert encoded == [[1], [2], [3], [4]]


@pytest.mark.parametrize(
    "ails",
    [
        pytest.param({"raises": ConnectionError("no Redis")}, id="raises"),
        pytest.param({"raises": RuntimeError("of any kind")}, id="raises anything"),
        pytest.param({"hangs": True}, id="hangs"),
    ],
)
@pytest.mark.parametrize(("path", "body"), [("ingest", {"temperature": 1}), ("ingest/batch", [{"temperature": 1}] * 2)])
def test_a_layer_that_is_away_fails_no_write_and_is_logged(as_device, monkeypatch, caplog, ails, path, body):
    monkeypatch.setattr(receivers, "ANNOUNCE_SECONDS", 0.05)
    use(monkeypatch, Layer(**ails))
    started = time.monotonic()
    response = as_device.post(f"/api/v1/{path}", body)
    assert time.monotonic() - started < 1.5
    assert response.status_code == 201
    assert Reading.objects.count() == (1 if path == "ingest" else 2)
    (record,) = records(caplog)
    assert record.levelname == "WARNING"
    assert "stored but not announced" in record.getMessage()


def records(caplog):
    return [record for record in caplog.records if record.name == "realtime.announcing.breaker"]


def test_a_layer_that_is_away_is_logged_once_and_once_when_it_is_back(device, monkeypatch, caplog):
    monkeypatch.setattr("realtime.announcing.breaker.RETRY_SECONDS", 0.2)
    layer = use(monkeypatch, Layer(raises=ConnectionError("no Redis")))
    for _ in range(5):
        store([new()])
    assert len(records(caplog)) == 1
    layer.raises = None
    time.sleep(0.25)
    for _ in range(3):
        store([new()])
    assert [record.getMessage().split(":")[0] for record in records(caplog)[1:]] == ["The channel layer answers again"]
    assert [message["stretches"][0][1] for _, message in to_devices(layer)] == [6, 7, 8]


def test_a_layer_that_hangs_holds_up_one_write_and_no_other(device, monkeypatch):
    monkeypatch.setattr(receivers, "ANNOUNCE_SECONDS", 0.05)
    monkeypatch.setattr("realtime.announcing.breaker.RETRY_SECONDS", 60)
    layer = use(monkeypatch, Layer(hangs=True))
    for _ in range(20):
        store([new()])
    assert layer.tries == 1

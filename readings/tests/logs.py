"""Helpers that store readings at chosen times through the write path, and that post raw, hostile bodies."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from devices.models import Device, DeviceState
from readings.log.entries import NewReading
from readings.log.recording import Recorded, record

NOON = datetime(2026, 5, 9, 12, tzinfo=UTC)


def at(seconds: float = 0) -> datetime:
    return NOON + timedelta(seconds=seconds)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def new(device_id: str = "mote-1", timestamp: datetime = NOON, **values: Any) -> NewReading:
    """A reading with a temperature, or with the given metrics."""
    if not values.keys() & {"temperature", "humidity", "voltage", "extra"}:
        values["temperature"] = 20.0
    return NewReading(device_id=device_id, timestamp=timestamp, **values)


def store(readings: Iterable[NewReading], received_at: datetime | None = NOON) -> list[Recorded]:
    """Stores readings, received at `received_at`, or by default at the time of the newest reading."""
    new = list(readings)
    if received_at is not None:
        received_at = max([received_at, *(reading.timestamp for reading in new)])
    return record(new, received_at=received_at)


def store_at(*moments: datetime) -> list[Recorded]:
    """One reading of `mote-1` at each of these times, with the temperatures 0, 1, 2, …"""
    return store(new(timestamp=when, temperature=float(n)) for n, when in enumerate(moments))


def state_of(device_id: str = "mote-1") -> DeviceState:
    return DeviceState.objects.get(device_id=device_id)


def make_devices(count: int) -> list[str]:
    """Registers many devices in two statements, without usable keys."""
    devices = [Device(device_id=f"node-{n:04}", api_key_hash=f"hash {n}", key_hint="") for n in range(count)]
    Device.objects.bulk_create(devices)
    DeviceState.objects.bulk_create([DeviceState(device=device) for device in devices])
    return [device.device_id for device in devices]


def post_raw(client: Any, path: str, body: bytes | str, content_type: str = "application/json") -> Any:
    raw = body.encode() if isinstance(body, str) else body
    return client.generic("POST", path, raw, content_type=content_type)

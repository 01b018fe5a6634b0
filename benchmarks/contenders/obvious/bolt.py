"""The obvious tables behind django-bolt: Django's ORM, msgspec, and an HTTP server written in Rust."""

import hashlib
import uuid
from datetime import datetime
from typing import Annotated

import msgspec
from django_bolt import BoltAPI
from django_bolt.exceptions import HTTPException
from django_bolt.param_functions import Body, Header

from benchmarks.contenders.obvious.models import Device, Reading

api = BoltAPI()


class ReadingIn(msgspec.Struct):
    temperature: float | None = None
    humidity: float | None = None
    voltage: float | None = None
    rssi: float | None = None


class ReadingOut(msgspec.Struct):
    id: uuid.UUID
    device_id: str
    timestamp: datetime


class Accepted(msgspec.Struct):
    accepted: int


# A header of a dependency is not found by django-bolt 0.3, so the views ask for it.
Key = Annotated[str, Header(alias="x-api-key")]


async def device_of(key: str) -> Device:
    digest = hashlib.sha256(key.encode()).hexdigest()
    found = await Device.objects.filter(api_key_hash=digest).afirst()
    if found is None:
        raise HTTPException(401)
    return found


def row(body: ReadingIn, device: Device) -> Reading:
    return Reading(
        device_id=device.device_id,
        temperature=body.temperature,
        humidity=body.humidity,
        voltage=body.voltage,
        extra={"rssi": body.rssi},
    )


@api.post("/readings", status_code=201)
async def create(body: ReadingIn, key: Key) -> ReadingOut:
    device = await device_of(key)
    reading = row(body, device)
    await reading.asave(force_insert=True)
    return ReadingOut(id=reading.id, device_id=device.device_id, timestamp=reading.timestamp)


@api.post("/readings/batch", status_code=201)
async def create_batch(body: Annotated[list[ReadingIn], Body()], key: Key) -> Accepted:
    device = await device_of(key)
    await Reading.objects.abulk_create([row(reading, device) for reading in body])
    return Accepted(accepted=len(body))

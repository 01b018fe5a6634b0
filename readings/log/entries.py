"""Readings outside the ORM: structs for the write path and its signal, and the JSON form of a reading."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from devices.metrics import COLUMNS
from devices.times import encodable


class NewReading(msgspec.Struct, frozen=True, gc=False):
    """A valid reading without a `seq`. `timestamp` is the time of measurement in UTC.

    `ignored`: keys of the payload that were ignored, such as `timestamp`. `rounded`: metrics that were sent as integers
    which no double represents; their nearest doubles are stored.
    """

    device_id: str
    timestamp: datetime
    id: UUID | None = None
    temperature: float | None = None
    humidity: float | None = None
    voltage: float | None = None
    extra: dict[str, float] = {}
    ignored: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why a reading is not stored. `field`: key of the payload, or empty; `code` and `detail` as in the API."""

    field: str
    code: str
    detail: str


class ReadingLike(Protocol):
    """The common attributes of `StoredReading` and the model `Reading`."""

    @property
    def id(self) -> UUID: ...

    @property
    def device_id(self) -> str: ...

    @property
    def seq(self) -> int: ...

    @property
    def timestamp(self) -> datetime: ...

    @property
    def temperature(self) -> float | None: ...

    @property
    def humidity(self) -> float | None: ...

    @property
    def voltage(self) -> float | None: ...

    @property
    def extra(self) -> dict[str, float]: ...


class StoredReading(msgspec.Struct, frozen=True, gc=False):
    id: UUID
    device_id: str
    seq: int
    timestamp: datetime
    temperature: float | None
    humidity: float | None
    voltage: float | None
    extra: dict[str, float]


class Appended(msgspec.Struct, frozen=True):
    """Readings just committed to one device's log, with consecutive `seq`. `device_pk` is the device's UUID.

    `access_version` counts the revocations committed before them (`devices.models.AccessVersion`). `received_at` is the
    time of receipt; None if the device itself did not send the readings, as in an import.
    """

    device_pk: UUID
    device_id: str
    readings: list[StoredReading]
    access_version: int
    received_at: datetime | None


def reading_document(reading: ReadingLike, metrics: Collection[str] | None = None) -> dict[str, Any]:
    """A reading as the API returns it: a flat object without the metrics that were absent.

    `metrics` limits it to these. The device is left out, because the enclosing document names it.
    """
    document: dict[str, Any] = {"id": reading.id, "seq": reading.seq, "timestamp": encodable(reading.timestamp)}
    values = {name: value for name in COLUMNS if (value := getattr(reading, name)) is not None} | reading.extra
    if metrics is not None:
        values = {name: value for name, value in values.items() if name in metrics}
    return document | values

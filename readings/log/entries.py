"""Readings outside the ORM: what the write path takes and returns, the signal carries and the answers show."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from devices.metrics import COLUMNS


class NewReading(msgspec.Struct, frozen=True, gc=False):
    """A valid reading that has no number yet. `timestamp` is when it was measured, in UTC."""

    device_id: str
    timestamp: datetime
    id: UUID | None = None
    temperature: float | None = None
    humidity: float | None = None
    voltage: float | None = None
    extra: dict[str, float] = {}
    ignored: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """Why a reading is not stored: `field` of the payload (empty: all of it), a code for programs, words for people."""

    field: str
    code: str
    detail: str


class ReadingLike(Protocol):
    """Both `StoredReading` and the model `Reading`."""

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
    """Readings just committed to one device's log, `seq` rising by one. `device_pk` is the device's UUID.

    `access_version` counts the revocations committed before them (`devices.models.AccessVersion`).
    """

    device_pk: UUID
    device_id: str
    readings: list[StoredReading]
    access_version: int


def reading_document(reading: ReadingLike, metrics: Collection[str] | None = None) -> dict[str, Any]:
    """A reading as the API shows it: flat, as it was sent; a metric that was absent is absent.

    With `metrics` only these. Leaves out the device, which whatever the document stands in names.
    """
    document: dict[str, Any] = {"id": reading.id, "seq": reading.seq, "timestamp": reading.timestamp}
    values = {name: value for name in COLUMNS if (value := getattr(reading, name)) is not None} | reading.extra
    if metrics is not None:
        values = {name: value for name, value in values.items() if name in metrics}
    return document | values

"""What the door needs of the process: key look-up, storing, and notes about what was refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from devices.access.callers import Caller
from readings.ingest.refused_posts import Refused
from readings.log.entries import NewReading
from readings.log.recording import Recorded


class Way(Protocol):
    """The objects that all requests of an event loop share; `readings.ingest.way.Way` without a request."""

    async def caller(self, key: str) -> Caller | None:
        """The caller for a key; None if the key is not valid. Raises DatabaseError."""
        ...

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        """Stores the readings and sends the signal; returns the outcome of each, in order."""
        ...

    async def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        """Stores the refused post, for the device's page; `count` equal ones."""
        ...

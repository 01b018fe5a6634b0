"""What the door needs of the process: key look-up, storing, and notes about what was refused."""

from datetime import datetime
from typing import Protocol

from devices.access.callers import Caller
from readings.ingest.refused_posts import Refused
from readings.ingest.way import Recording


class Way(Recording, Protocol):
    """The objects that all requests of an event loop share; `readings.ingest.way.Way` without a request."""

    async def caller(self, key: str) -> Caller | None:
        """The caller for a key; None if the key is not valid. Raises DatabaseError."""
        ...

    async def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        """Stores the refused post, for the device's page; `count` equal ones."""
        ...

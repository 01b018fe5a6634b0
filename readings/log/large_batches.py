"""Passes large batches to the group commit one at a time, so that its queue has room for all other posts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from readings import instruments
from readings.log.group_commit import QUEUED_READINGS_MAX, Overloaded

# A batch of more readings is large. It needs its own transaction in any case (GROUP_READINGS_MAX).
LARGE_BATCH_READINGS_MIN = 2_000


class LargeBatches:
    """The queue of large batches of one event loop."""

    def __init__(self) -> None:
        self.committing = asyncio.Lock()
        self.readings = 0

    @asynccontextmanager
    async def turn(self, readings: int) -> AsyncIterator[None]:
        """Waits until no other large batch is being committed.

        Raises Overloaded if more than QUEUED_READINGS_MAX readings, about 20 MB, would wait here.
        """
        if self.readings and self.readings + readings > QUEUED_READINGS_MAX:
            instruments.OVERLOADS.inc()
            raise Overloaded
        self.readings += readings
        try:
            async with self.committing:
                yield
        finally:
            self.readings -= readings

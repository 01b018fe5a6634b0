"""Large batches go to the group commit one at a time, which leaves room in its queue for all other posts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from readings import instruments
from readings.log.group_commit import QUEUED_READINGS_MAX, Overloaded

# A batch of more readings is a large one: it is a transaction of its own in any case.
LARGE_BATCH_READINGS_MIN = 2_000


class LargeBatches:
    """One event loop's."""

    def __init__(self) -> None:
        self.committing = asyncio.Lock()
        self.readings = 0

    @asynccontextmanager
    async def turn(self, readings: int) -> AsyncIterator[None]:
        """Waits until no other large batch is being committed.

        Raises Overloaded where so many readings more than wait here may not wait; about 20 MB of them may.
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

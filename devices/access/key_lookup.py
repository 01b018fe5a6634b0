"""Keys resolved many at a time, for event loops: one query for all that wait."""

import asyncio

from django.utils import timezone

from devices.access.callers import Caller, Role, shared_key_caller
from devices.database.runner import DatabaseRunner, own_copy
from devices.database.work import Work
from devices.keys import hash_key
from devices.models import Device

# Hashes of one query.
BATCH_MAX = 500
# How long a request waits to know its caller, in seconds.
LOOK_UP_SECONDS = 5.0


class KeyResolver:
    """One event loop's way to know its callers. Nothing is remembered, so a revoked key is refused at once."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Device | None]] = {}
        self.running: asyncio.Task[None] | None = None
        self.runner = DatabaseRunner(
            "key-resolver", work=Work.INGEST, threads=1, seconds=LOOK_UP_SECONDS, waiting_max=1
        )

    async def caller(self, key: str) -> Caller | None:
        """As `callers.caller_for_key`. Raises DatabaseError."""
        if (shared := shared_key_caller(key)) is not None:
            return shared
        digest = hash_key(key)
        if digest not in self.waiting:
            self.waiting[digest] = asyncio.get_running_loop().create_future()
        found = self.waiting[digest]
        if self.running is None:
            self.running = asyncio.create_task(self.run())
        # Shielded: others may wait for the same key.
        try:
            device = await asyncio.shield(found)
        except Exception as error:
            raise own_copy(error) from error.__cause__
        return Caller(role=Role.DEVICE, device=device) if device else None

    async def run(self) -> None:
        """Looks up what waits, batch after batch."""
        try:
            while self.waiting:
                digests = list(self.waiting)[:BATCH_MAX]
                asked = {digest: self.waiting.pop(digest) for digest in digests}
                try:
                    found = await self.runner.run(Device.objects.for_key_hashes, digests, now=timezone.now())
                except Exception as error:  # whatever it is, those who wait must hear of it
                    for future in asked.values():
                        if not future.done():
                            future.set_exception(own_copy(error))
                            future.exception()  # nobody may be left to ask for it
                else:
                    for digest, future in asked.items():
                        if not future.done():
                            future.set_result(found.get(digest))
        finally:
            self.running = None

"""Keys resolved many at a time, for event loops: one query for all that wait, in a thread of its own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from django.db import connection
from django.utils import timezone

from devices.callers import Caller, Role, shared_key_caller
from devices.keys import hash_key
from devices.models import Device

# Hashes of one query.
BATCH_MAX = 500


class KeyResolver:
    """One event loop's way to know its callers. Nothing is remembered, so a revoked key is refused at once."""

    def __init__(self) -> None:
        self.waiting: dict[str, asyncio.Future[Device | None]] = {}
        self.running: asyncio.Task[None] | None = None
        self.thread = ThreadPoolExecutor(1, "key-resolver")

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
        device = await asyncio.shield(found)
        return Caller(role=Role.DEVICE, device=device) if device else None

    async def run(self) -> None:
        """Looks up what waits, batch after batch."""
        in_thread = partial(asyncio.get_running_loop().run_in_executor, self.thread)
        try:
            while self.waiting:
                digests = list(self.waiting)[:BATCH_MAX]
                asked = {digest: self.waiting.pop(digest) for digest in digests}
                try:
                    found = await in_thread(self.look_up, digests)
                except Exception as error:  # whatever it is, those who wait must hear of it
                    for future in asked.values():
                        future.set_exception(error)
                else:
                    for digest, future in asked.items():
                        future.set_result(found.get(digest))
        finally:
            self.running = None

    def look_up(self, digests: list[str]) -> dict[str, Device]:
        """In the thread; gives the connection back where nothing waits, and drops one that failed."""
        healthy = False
        try:
            found = Device.objects.for_key_hashes(digests, now=timezone.now())
            healthy = True
        finally:
            if not healthy or not self.waiting:
                connection.close()
        return found

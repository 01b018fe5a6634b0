"""Looks up the keys of concurrent requests of an event loop: those it does not know, together, in one query."""

import asyncio
import time

from django.utils import timezone

from devices.access.callers import Caller, callers_for_hashes, is_token, shared_key_caller
from devices.access.known_callers import KnownCallers
from devices.database.runner import DatabaseRunner, own_copy
from devices.database.work_kinds import Work
from devices.keys import hash_key

# Maximum number of key hashes in one query.
BATCH_MAX = 500
# Maximum time that a request waits for the look-up of its key, in seconds.
LOOK_UP_SECONDS = 5.0


class KeyResolver:
    """Key look-up of one event loop.

    A caller in `known` may have lost its key within the last TRUSTED_SECONDS. Who stores something for it checks the
    version at which it was looked up (`Caller.found`), as `readings.log.group_commit` does.
    """

    def __init__(self) -> None:
        self.known = KnownCallers()
        self.tokens: set[str] = set()  # those waiting hashes that are of API tokens
        self.waiting: dict[str, asyncio.Future[Caller | None]] = {}
        self.running: asyncio.Task[None] | None = None
        self.runner = DatabaseRunner(
            "key-resolver", work=Work.INGEST, threads=1, seconds=LOOK_UP_SECONDS, waiting_max=1
        )

    async def caller(self, key: str, *, afresh: bool = False) -> Caller | None:
        """The caller for a key, like `callers.caller_for_key`. Raises DatabaseError.

        `afresh`: looks it up now, for who does not check the version before it stores something.
        """
        if (shared := shared_key_caller(key)) is not None:
            return shared
        digest = hash_key(key)
        if not afresh and (known := self.known.get(digest, now=timezone.now())) is not None:
            return known
        if digest not in self.waiting:
            self.waiting[digest] = asyncio.get_running_loop().create_future()
            if is_token(key):
                self.tokens.add(digest)
        found = self.waiting[digest]
        if self.running is None:
            self.running = asyncio.create_task(self.run())
        # Shielded, because other requests may wait for the same key.
        try:
            return await asyncio.shield(found)
        except Exception as error:
            raise own_copy(error) from error.__cause__

    async def run(self) -> None:
        """Looks up the waiting keys in batches of at most BATCH_MAX until none is left."""
        try:
            while self.waiting:
                digests = list(self.waiting)[:BATCH_MAX]
                asked = {digest: self.waiting.pop(digest) for digest in digests}
                began = time.monotonic()
                try:
                    keys, tokens = [d for d in digests if d not in self.tokens], self.tokens.intersection(digests)
                    self.tokens -= tokens
                    found = await self.runner.run(callers_for_hashes, keys, tokens, now=timezone.now())
                except Exception as error:  # of any kind: the waiting requests must receive it
                    for future in asked.values():
                        if not future.done():
                            future.set_exception(own_copy(error))
                            future.exception()  # marks it as retrieved; asyncio would log it if all requests are gone
                else:
                    for caller in found.values():
                        self.known.put(caller, read_at=began)
                    for digest, future in asked.items():
                        if not future.done():
                            future.set_result(found.get(digest))
        finally:
            self.running = None

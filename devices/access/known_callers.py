"""Remembers the callers of recent keys, so that a key that posts often is looked up seldom."""

import time
from datetime import datetime

from devices.access.callers import Caller

# Keys that are remembered, about 1 KB each. Beyond that, the key that was not used for the longest time is forgotten.
KEYS_MAX = 20_000
# Seconds after a look at `AccessVersion` within which the callers known at this version are trusted. Every commit of
# readings looks at it. A revoked key is therefore refused within this time, also by a process that stores nothing.
TRUSTED_SECONDS = 0.5


class KnownCallers:
    """The callers of one event loop's requests, by the hash of their key; unknown keys are not remembered.

    `AccessVersion` changes in the commit that changes a key, a token or whether a device is active. So a look-up at one
    version is right as long as that is the version.
    """

    def __init__(self) -> None:
        self.callers: dict[str, Caller] = {}
        # The version that was last read, and when (`time.monotonic`). One attribute, because threads set it.
        self.access: tuple[int, float] | None = None

    def get(self, key_hash: str, *, now: datetime) -> Caller | None:
        """The caller for a key, if it is known and certainly still right; otherwise look it up."""
        callers, access = self.callers, self.access
        caller = callers.get(key_hash)
        if caller is None or access is None:
            return None
        version, read_at = access
        if time.monotonic() - read_at > TRUSTED_SECONDS or caller.is_doubtful(version, now=now):
            return None
        callers[key_hash] = callers.pop(key_hash)  # now the latest
        return caller

    def put(self, caller: Caller, *, read_at: float) -> None:
        """Remembers a caller that was looked up in the database not before `read_at` (`time.monotonic`)."""
        assert caller.found is not None
        self.saw(caller.found.version, read_at=read_at)
        callers = self.callers
        callers.pop(caller.found.key_hash, None)
        callers[caller.found.key_hash] = caller
        while len(callers) > KEYS_MAX:
            del callers[next(iter(callers))]

    def saw(self, version: int, *, read_at: float) -> None:
        """Notes that `AccessVersion` was `version` at `read_at` or later. May be called in any thread.

        Forgets the callers of any other version. After a failover or with a restored backup the version can be lower
        than before; a later change, of another key, then raises it to a number at which they were looked up.
        """
        if self.access is not None and self.access[0] != version:
            self.callers = {}
        self.access = (version, read_at)

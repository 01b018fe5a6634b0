"""Hashing passwords costs about a third of a second of one core, and anyone may ask for it: at a few at a time.

A request waits for its turn in its own thread, without a connection to the database. The threads that hash give way to
all others of the process, so that forty sign-ins at once do not slow down ingest.
"""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection

# In one process.
HASHES_AT_ONCE = 2
HASHES_WAITING = 8
# How long one waits for its hash, in seconds, its own included.
HASH_SECONDS = 10.0
# Of a thread that hashes; 0 is that of the others. At 15, signing in to a machine that is busy took over ten seconds.
NICENESS = 5

TOO_MANY = (
    f"Too many sign-ins at once: {HASHES_AT_ONCE} passwords are hashed at a time, {HASHES_WAITING} (HASHES_WAITING) "
    f"wait for at most {HASH_SECONDS:.0f} seconds (HASH_SECONDS). Nothing was changed. Try again in a moment."
)


class TooManyHashes(Exception):
    """As many passwords wait to be hashed as may, or this one waited too long."""


def give_way() -> None:
    """Makes the scheduler prefer other threads to this one; on Linux alone threads have priorities of their own."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


threads = ThreadPoolExecutor(HASHES_AT_ONCE, "hashing", initializer=give_way)
places = threading.BoundedSemaphore(HASHES_AT_ONCE + HASHES_WAITING)


def leave(_hashed: "Future[str]") -> None:
    places.release()


class BoundedPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """Django's own hash, so that passwords that were stored before go on working. Verifying encodes, too."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Raises TooManyHashes."""
        hash_password = partial(super().encode, password, salt, iterations)
        if connection.in_atomic_block:
            # Nobody waits in a transaction, which on SQLite keeps all others from writing.
            return hash_password()
        if not places.acquire(blocking=False):
            raise TooManyHashes(TOO_MANY)
        hashed = threads.submit(hash_password)
        hashed.add_done_callback(leave)
        connection.close()
        try:
            return hashed.result(HASH_SECONDS)
        except TimeoutError:
            hashed.cancel()
            raise TooManyHashes(TOO_MANY) from None

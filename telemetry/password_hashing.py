"""A bound for password hashing, which takes about 0.3 s of one core and which anyone may cause by signing in.

A request waits for its turn in its own thread, without a database connection. The hashing threads have a lower
priority than all others of the process, so that forty sign-ins at once do not slow down ingest.
"""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection

# Hashes that run, and that wait, at the same time in one process.
HASHES_AT_ONCE = 2
HASHES_WAITING = 8
# Seconds that a request waits for its hash, including the time to compute it.
HASH_SECONDS = 10.0
# Nice value of hashing threads; the others have 0. With 15, signing in on a busy machine took more than ten seconds.
NICENESS = 5

TOO_MANY = (
    f"Too many sign-ins at the same time: {HASHES_AT_ONCE} passwords are hashed at once, and {HASHES_WAITING} more may "
    f"wait (HASHES_WAITING) for {HASH_SECONDS:.0f} seconds (HASH_SECONDS). Nothing was changed. Try again in a moment."
)


class TooManyHashes(Exception):
    """HASHES_WAITING passwords wait already, or this one was not hashed within HASH_SECONDS."""


def give_way() -> None:
    """Makes the scheduler prefer other threads to this one. Works on Linux, where each thread has its own priority."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


threads = ThreadPoolExecutor(HASHES_AT_ONCE, "hashing", initializer=give_way)
places = threading.BoundedSemaphore(HASHES_AT_ONCE + HASHES_WAITING)


def leave(_hashed: "Future[str]") -> None:
    places.release()


class BoundedPBKDF2PasswordHasher(PBKDF2PasswordHasher):
    """Django's own hash, so that stored passwords stay valid. Verifying a password calls `encode`, too."""

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        """Hashes the password in a hashing thread. Raises TooManyHashes.

        Inside a transaction it hashes at once, in the caller's thread.
        """
        hash_password = partial(super().encode, password, salt, iterations)
        if connection.in_atomic_block:
            # Do not wait in a transaction: on SQLite it keeps all others from writing.
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

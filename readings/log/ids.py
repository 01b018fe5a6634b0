import hashlib
import os
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec

RANDOM_BYTES = 10
# The hexadecimal digit that holds the variant: binary 10 and two random bits.
VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def uuid7() -> UUID:
    """A time-ordered identifier, UUIDv7 of RFC 9562: 48 bits of Unix milliseconds, 74 random bits."""
    return uuid7s(1)[0]


def uuid7s(count: int) -> list[UUID]:
    """`count` identifiers of the same millisecond, in a tenth of the time of `count` calls of `UUID()`."""
    prefix = f"{time.time_ns() // 1_000_000 & (1 << 48) - 1:012x}7"
    random = os.urandom(RANDOM_BYTES * count).hex()
    starts = range(0, len(random), 2 * RANDOM_BYTES)
    texts = [f"{prefix}{random[s : s + 3]}{VARIANT[random[s + 3]]}{random[s + 4 : s + 19]}" for s in starts]
    return msgspec.convert(texts, list[UUID])


def derived_ids(texts: Sequence[bytes], milliseconds: Sequence[int]) -> list[UUID]:
    """The identifiers of readings that were sent without one, each with its time. Equal texts get equal identifiers.

    UUIDs of version 8 (RFC 9562, section 5.8): 48 bits of Unix milliseconds, which keep the index fast as those of
    version 7 do, and 74 bits of a hash. Made as texts, because `UUID()` takes longer than all the rest.
    """
    found = []
    for text, time_ms in zip(texts, milliseconds, strict=True):
        digest = hashlib.blake2b(text, digest_size=10).hexdigest()
        middle = int(digest[:5], 16) >> 2 & 0xFFF  # bits 62 to 73 of the hash; the last 62 follow
        found.append(f"{time_ms & (1 << 48) - 1:012x}8{middle:03x}{VARIANT[digest[4]]}{digest[5:]}")
    return msgspec.convert(found, list[UUID])


def derived_id(text: bytes, *, milliseconds: int) -> UUID:
    """The identifier of one such reading."""
    return derived_ids([text], [milliseconds])[0]

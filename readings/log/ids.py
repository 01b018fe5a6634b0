import hashlib
import os
import time
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


def derived_id(text: bytes, *, milliseconds: int) -> UUID:
    """The identifier of a reading that was sent without one. Equal texts get equal identifiers.

    A UUID of version 8 (RFC 9562, section 5.8): 48 bits of Unix milliseconds, which keep the index fast as those of
    version 7 do, and 74 bits of a hash.
    """
    bits = int.from_bytes(hashlib.blake2b(text, digest_size=10).digest())
    head = (milliseconds & (1 << 48) - 1) << 80 | 0x8 << 76 | (bits >> 62 & 0xFFF) << 64
    return UUID(int=head | 1 << 63 | bits & (1 << 62) - 1)

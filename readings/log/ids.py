import os
import time
from uuid import UUID

import msgspec

RANDOM_BYTES = 10


def uuid7() -> UUID:
    """A time-ordered identifier, UUIDv7 of RFC 9562: 48 bits of Unix milliseconds, 74 random bits."""
    return uuid7s(1)[0]


def uuid7s(count: int) -> list[UUID]:
    """`count` identifiers of the same millisecond, in a tenth of the time of `count` calls of `UUID()`."""
    milliseconds = time.time_ns() // 1_000_000 & (1 << 48) - 1
    random = os.urandom(RANDOM_BYTES * count)
    texts = []
    for first in range(0, RANDOM_BYTES * count, RANDOM_BYTES):
        bits = int.from_bytes(random[first : first + RANDOM_BYTES])
        high, low = 0x7000 | bits >> 64 & 0xFFF, 1 << 63 | bits & (1 << 62) - 1
        texts.append(f"{milliseconds:012x}{high:04x}{low:016x}")
    return msgspec.convert(texts, list[UUID])

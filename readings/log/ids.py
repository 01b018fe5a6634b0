import hashlib
import os
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from readings.windows import EARLIEST

MILLISECOND = timedelta(milliseconds=1)
RANDOM_BYTES = 10
# One hash gives the bits of the identifiers of so many consecutive readings; blake2b has at most 64 bytes.
IDS_PER_HASH = 6
# Hexadecimal digits of RANDOM_BYTES.
DIGITS = 2 * RANDOM_BYTES
# The hexadecimal digit that holds the variant: binary 10 and two random bits.
VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


def uuid7() -> UUID:
    """A time-ordered identifier, UUIDv7 of RFC 9562: 48 bits of Unix milliseconds, 74 random bits."""
    return UUID(version7(time.time_ns() // 1_000_000, os.urandom(RANDOM_BYTES).hex()))


def version7(milliseconds: int, bits: str) -> str:
    """The digits of the UUIDv7 of this time with these bits, 19 or 20 hexadecimal digits."""
    return f"{milliseconds & (1 << 48) - 1:012x}7{bits[:3]}{VARIANT[bits[3]]}{bits[4:19]}"


class ServerIds:
    """The identifiers of readings that were sent without one: a function of device, `seq`, time and a secret key.

    So a segment of sealed readings need not store them. UUIDv7 of the reading's time; the other 74 bits are a keyed
    hash of device and `seq`, so that nobody without the key can guess the next one. An instance is for one use and one
    thread, as it remembers the last hash of each device.
    """

    def __init__(self, key: bytes) -> None:
        self.hash = hashlib.blake2b(digest_size=RANDOM_BYTES * IDS_PER_HASH, key=key)
        self.latest: dict[str, tuple[int, str]] = {}

    def digits(self, device_id: str, seq: int, milliseconds: int) -> str:
        """The identifier as 32 hexadecimal digits."""
        number, place = divmod(seq, IDS_PER_HASH)
        latest = self.latest.get(device_id)
        if latest is None or latest[0] != number:
            block = self.hash.copy()
            block.update(f"{device_id}/{number}".encode())
            latest = self.latest[device_id] = number, block.hexdigest()
        begin = place * DIGITS
        return version7(milliseconds, latest[1][begin : begin + DIGITS])

    def id(self, device_id: str, seq: int, timestamp: datetime) -> UUID:
        digits = self.digits(device_id, seq, (timestamp - EARLIEST) // MILLISECOND)
        return msgspec.convert(digits, UUID)  # in half the time of UUID()


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

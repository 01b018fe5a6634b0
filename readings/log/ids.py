import hashlib
import os
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from readings.windows import EARLIEST

uuids = msgspec.msgpack.Decoder(list[UUID])
MILLISECOND = timedelta(milliseconds=1)
RANDOM_BYTES = 10
# One hash gives the bits of the identifiers of so many consecutive readings; blake2b has at most 64 bytes.
IDS_PER_HASH = 6
# Hexadecimal digits of RANDOM_BYTES.
DIGITS = 2 * RANDOM_BYTES
# The hexadecimal digit that holds the variant: binary 10 and two random bits.
VARIANT = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
VARIANTS = bytes.maketrans("".join(VARIANT).encode(), "".join(VARIANT.values()).encode())
# The places of the dashes in an identifier of 36 characters.
DASHES = (8, 13, 18, 23)
# The digits of a hash for each of its identifiers.
PARTS = [slice(place * DIGITS, (place + 1) * DIGITS) for place in range(IDS_PER_HASH)]
empty_hash = hashlib.blake2b(digest_size=RANDOM_BYTES)
# So many random bits are read at once, because a system call takes longer than all the rest.
RANDOM_AT_ONCE = 100
random_bits: Iterator[str] = iter(())


def uuid7() -> UUID:
    """A time-ordered identifier, UUIDv7 of RFC 9562: 48 bits of Unix milliseconds, 74 random bits."""
    global random_bits
    # Taking the next one of a list is safe between threads; each thread that finds it empty may fill it.
    while (bits := next(random_bits, None)) is None:
        text = os.urandom(RANDOM_BYTES * RANDOM_AT_ONCE).hex()
        random_bits = iter([text[start : start + DIGITS] for start in range(0, len(text), DIGITS)])
    return msgspec.convert(version7(time.time_ns() // 1_000_000, bits), UUID)  # in half the time of UUID()


def forget_random_bits() -> None:
    """A forked process must not use the same bits as its parent."""
    global random_bits
    random_bits = iter(())


os.register_at_fork(after_in_child=forget_random_bits)


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

    def texts(self, device_id: str, seqs: Sequence[int], milliseconds: Iterable[int], *, dash: str = "") -> list[str]:
        """The identifiers of many readings of a device: as `digits` of each, with `dash` between groups of digits.

        In a third of the time, because it handles one digit of all identifiers after the other.
        """
        blocks = {}
        for number in {seq // IDS_PER_HASH for seq in seqs}:
            block = self.hash.copy()
            block.update(f"{device_id}/{number}".encode())
            blocks[number] = block.hexdigest()
        bits = "".join([blocks[seq // IDS_PER_HASH][PARTS[seq % IDS_PER_HASH]] for seq in seqs]).encode()
        times = struct.pack(f">{len(seqs)}Q", *[at & (1 << 48) - 1 for at in milliseconds]).hex().encode()
        columns = [times[place::16] for place in range(4, 16)]
        columns += [b"7" * len(seqs), *(bits[place::DIGITS] for place in range(DIGITS - 1))]
        columns[16] = columns[16].translate(VARIANTS)
        if dash:
            for place in DASHES:
                columns.insert(place, dash.encode() * len(seqs))
        width = len(columns)
        texts = bytearray(width * len(seqs))
        for place, column in enumerate(columns):
            texts[place::width] = column
        text = texts.decode()
        return [text[begin : begin + width] for begin in range(0, len(text), width)]

    def id(self, device_id: str, seq: int, timestamp: datetime) -> UUID:
        return msgspec.convert(self.digits(device_id, seq, (timestamp - EARLIEST) // MILLISECOND), UUID)


def derived_ids(texts: Sequence[bytes], milliseconds: Sequence[int]) -> list[UUID]:
    """The identifiers of readings that were sent without one, each with its time. Equal texts get equal identifiers.

    UUIDs of version 8 (RFC 9562, section 5.8): 48 bits of Unix milliseconds, which keep the index fast as those of
    version 7 do, and 74 bits of a hash. Decoded from MessagePack, because `UUID()` takes longer than all the rest.
    """
    found = []
    for text, time_ms in zip(texts, milliseconds, strict=True):
        hashed = empty_hash.copy()  # in less time than a new one
        hashed.update(text)
        digest = hashed.digest()
        head = int.from_bytes(digest[:3])
        # The time, the version and 12 bits; the variant and 62 bits.
        begin = (time_ms & (1 << 48) - 1) << 24 | 0x800080 | (head >> 6 & 0xFFF) << 8 | head & 0x3F
        found.append(b"\xc4\x10" + begin.to_bytes(9) + digest[3:])  # a binary of 16 bytes
    header = b"\xdd" + len(found).to_bytes(4)  # an array of so many
    return uuids.decode(header + b"".join(found))


def derived_id(text: bytes, *, milliseconds: int) -> UUID:
    """The identifier of one such reading."""
    return derived_ids([text], [milliseconds])[0]

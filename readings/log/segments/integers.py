"""Columns of integers as deflated byte planes of differences, and the small parts that all columns are made of.

Reads raise Damaged where the bytes cannot be what these functions wrote.
"""

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise
from math import gcd

# Differences of differences, as most clocks are regular.
ORDERS = (0, 1, 2)
LEVEL = 6
RAW_DEFLATE = -15
# A varint of the format has at most this many bytes.
VARINT_BYTES = 20
# Sizes in bytes of integers with a sign that `struct` knows.
UNPACKED = {1: "b", 2: "h", 4: "i", 8: "q"}


class Damaged(Exception):
    """The bytes are no segment of a version that this program reads, or were changed."""


class Cursor:
    """Reads one part after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, length: int) -> bytes:
        """The next `length` bytes."""
        part = self.data[self.place : self.place + length]
        if len(part) < length:
            raise Damaged("it ends too early")
        self.place += length
        return part

    def rest(self) -> bytes:
        return self.take(len(self.data) - self.place)

    def byte(self) -> int:
        if self.place >= len(self.data):
            raise Damaged("it ends too early")
        byte = self.data[self.place]
        self.place += 1
        return byte

    def varint(self) -> int:
        value, data, place = 0, self.data, self.place
        for shift, byte in enumerate(data[place : place + VARINT_BYTES]):
            value |= (byte & 0x7F) << 7 * shift
            if byte < 0x80:
                self.place = place + shift + 1
                return value
        raise Damaged("a number has no end" if len(data) - place >= VARINT_BYTES else "it ends too early")

    def sized(self) -> bytes:
        return self.take(self.varint())


def varint(value: int) -> bytes:
    """A number from 0 on, seven bits a byte, the lowest first; all bytes but the last have the highest bit set."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def sized(data: bytes) -> bytes:
    """The data after its length."""
    return varint(len(data)) + data


def zigzag(value: int) -> int:
    """Numbers from 0 on for 0, -1, 1, -2, …"""
    return value << 1 if value >= 0 else ~value << 1 | 1


def unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)


# The signed byte for the zigzag number of a byte.
UNZIGZAGGED = bytes(unzigzag(value) & 0xFF for value in range(256))


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW_DEFLATE)
    return compressor.compress(data) + compressor.flush()


def inflated(data: bytes, length: int) -> bytes:
    """The data, which must have this length."""
    inflater = zlib.decompressobj(RAW_DEFLATE)
    try:
        # A byte more than expected, so that a longer column is noticed, and the end of the stream is read.
        found = inflater.decompress(data, length + 1)
    except zlib.error as error:
        raise Damaged(f"a column cannot be inflated: {error}") from error
    if len(found) != length or not inflater.eof or inflater.unused_data:
        raise Damaged("a column has another length than it says")
    return found


def flags(values: Sequence[bool]) -> bytes:
    """A bit for each, the first one lowest, deflated."""
    bits = sum(1 << place for place, value in enumerate(values) if value)
    return deflated(bits.to_bytes((len(values) + 7) // 8, "little"))


def read_flags(data: bytes, count: int) -> list[bool]:
    bits = int.from_bytes(inflated(data, (count + 7) // 8), "little")
    return [bool(bits >> place & 1) for place in range(count)]


def integers(values: Sequence[int]) -> bytes:
    """The first value, the greatest common divisor of the distances from it, and these in the smallest of the ORDERS.

    A divisor of 0 means that all are equal. Otherwise the order, the width in bytes and the deflated planes follow.
    """
    if not values:
        return b""
    first = values[0]
    distances = [value - first for value in values]
    divisor = gcd(*distances)
    head = varint(zigzag(first)) + varint(divisor)
    if not divisor:
        return head
    steps = distances if divisor == 1 else [distance // divisor for distance in distances]
    found = []
    for order in ORDERS:
        if order:
            steps = [steps[0], *(after - before for before, after in pairwise(steps))]
        width, planes = planes_of([value << 1 if value >= 0 else ~value << 1 | 1 for value in steps])
        found.append(bytes((order, width)) + deflated(planes))
    return head + min(found, key=len)


def read_integers(data: bytes, count: int) -> list[int]:
    if not count:
        return []
    cursor = Cursor(data)
    first, divisor = unzigzag(cursor.varint()), cursor.varint()
    if not divisor:
        return [first] * count
    order, width = cursor.byte(), cursor.byte()
    if order not in ORDERS or not width:
        raise Damaged("a column of numbers has an unknown form")
    planes = inflated(cursor.rest(), count * width)
    if width == order == 1 < count and planes.count(planes[1:2], 1) == count - 1:
        # All the same distance apart, as numbers of readings and starts of rollups are.
        distance = divisor * unzigzag(planes[1])
        begin = first + divisor * unzigzag(planes[0])
        return list(range(begin, begin + distance * count, distance)) if distance else [begin] * count
    if width == 1:
        steps = memoryview(planes.translate(UNZIGZAGGED)).cast("b").tolist()
    else:
        steps = signed_values_of(planes, count, width)
    for number in range(order, 0, -1):
        if number == 1 and divisor == 1:
            steps[0] += first  # the last sums then have it already
        steps = list(accumulate(steps))
    if divisor == 1:
        return steps if order else [first + step for step in steps]
    return [first + divisor * step for step in steps]


def planes_of(values: Sequence[int]) -> tuple[int, bytes]:
    """The width of the largest in bytes, and the lowest bytes of all numbers, then their second bytes, and so on."""
    width = max(1, (max(values).bit_length() + 7) // 8)
    if width > 8:
        packed, size = b"".join(value.to_bytes(width, "little") for value in values), width
    else:
        packed, size = struct.pack(f"<{len(values)}Q", *values), 8
    return width, b"".join(packed[place::size] for place in range(width))


def signed_values_of(planes: bytes, count: int, width: int) -> list[int]:
    """The numbers of which these are the zigzag numbers in planes."""
    size = next((size for size in UNPACKED if size >= width), width)
    packed = bytearray(count * size)
    for place in range(width):
        packed[place::size] = planes[place * count : (place + 1) * count]
    if size not in UNPACKED:
        parts = (packed[start : start + size] for start in range(0, len(packed), size))
        return [unzigzag(int.from_bytes(part, "little")) for part in parts]
    # All at once, as one number with `size` bytes for each: half of each, with all its bits changed if it is odd.
    lowest, halves = lanes(count, size)
    numbers = int.from_bytes(packed, "little")
    odd = numbers & lowest
    numbers = (numbers >> 1 & halves) ^ ((odd << 8 * size) - odd)
    return list(struct.unpack(f"<{count}{UNPACKED[size]}", numbers.to_bytes(count * size, "little")))


@lru_cache(32)
def lanes(count: int, size: int) -> tuple[int, int]:
    """Of `count` numbers of `size` bytes in one: the lowest bit of each, and all but the highest bit of each."""
    lowest = int.from_bytes((1).to_bytes(size, "little") * count, "little")
    return lowest, (lowest << 8 * size - 1) - lowest

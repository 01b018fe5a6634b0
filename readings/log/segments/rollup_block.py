"""A block: rollups of one metric of one device in the order of time, as bytes.

Version, CRC-32 of everything else, the number of rollups, and the columns: start, count, sum, minimum and maximum.
docs/log-format.md describes every byte.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from readings.log.segments.integers import Cursor, Damaged, integers, read_integers, sized, varint
from readings.log.segments.sealed import naming_damage, unwrapped, wrapped
from readings.log.segments.values import Number, Scaled, numbers, read_scaled, types

VERSION = 1
# More than a block of any width has.
ROLLUPS_MAX = 10_000


class Columns(NamedTuple):
    """Rollups by columns, each as long as the others. `starts`: whole hours or minutes since 1970, ascending.

    The extremes are not divided yet, because of a bucket only one of each is needed.
    """

    starts: list[int]
    counts: list[int]
    sums: list[Number]
    minima: Scaled
    maxima: Scaled

    def rollups(self) -> Iterator[tuple[int, int, Number, Number, Number]]:
        """(start, count, sum, minimum, maximum) of each."""
        return zip(self.starts, self.counts, self.sums, self.minima.values(), self.maxima.values(), strict=True)

    def at(self, places: Sequence[int]) -> "Columns":
        """The rollups at these places."""
        starts, counts = [self.starts[place] for place in places], [self.counts[place] for place in places]
        sums = [self.sums[place] for place in places]
        minima, maxima = (column._replace(numbers=[column.numbers[place] for place in places]) for column in self[3:])
        return Columns(starts, counts, sums, minima, maxima)


def encode(rollups: Sequence[tuple[int, int, float, float, float]]) -> bytes:
    """The block of these rollups, at least one: (start, count, sum, minimum, maximum), by start."""
    starts, counts, *figures = zip(*rollups, strict=True)
    columns = [integers(starts), integers(counts), *(types(values) + numbers(values) for values in figures)]
    body = varint(len(rollups)) + b"".join(map(sized, columns))
    return wrapped(VERSION, body)


def decode(block: bytes) -> Columns:
    """Raises Damaged."""
    cursor = unwrapped(block, version=VERSION)
    count = cursor.varint()
    if not 0 < count <= ROLLUPS_MAX:
        raise Damaged(f"it has {count} rollups")
    with naming_damage():
        starts, counts = read_integers(cursor.sized(), count), read_integers(cursor.sized(), count)
        sums, minima, maxima = (read_scaled(Cursor(cursor.sized()), count) for _ in range(3))
    if cursor.rest():
        raise Damaged("it has more bytes than it says")
    return Columns(starts, counts, sums.values(), minima, maxima)

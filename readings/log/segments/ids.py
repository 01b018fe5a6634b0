"""The column of ids. Those that the server derived take no room; others that begin with a time are stored as that time
and the rest."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from readings.log.ids import ServerIds
from readings.log.segments.integers import Cursor, Damaged, deflated, inflated, integers, read_integers, sized

# As sent by a client; with the milliseconds since 1970 in its first 48 bits (versions 7 and 8 of RFC 9562); derived by
# the server from device, `seq` and time.
ANY, TIMED, DERIVED = 0, 1, 2
BOTH = 255
TIMED_VERSIONS = (7, 8)
ID_BYTES, REST_BYTES = 16, 10
REST_BITS = 80
REST = (1 << REST_BITS) - 1


class Numbered(msgspec.Struct, frozen=True):
    """The readings of a device whose ids these are: `times` in microseconds since 1970, and the key of the ids."""

    device_id: str
    seqs: Sequence[int]
    times: Sequence[int]
    key: bytes

    def derived(self, places: Iterable[int], *, dash: str = "") -> list[str]:
        """The ids that the server would have given to the readings at these places: hexadecimal digits in groups."""
        places = list(places)
        seqs, milliseconds = [self.seqs[place] for place in places], [self.times[place] // 1000 for place in places]
        return ServerIds(self.key).texts(self.device_id, seqs, milliseconds, dash=dash)


def ids(values: Sequence[UUID], readings: Numbered) -> bytes:
    """The column."""
    numbers = [value.int for value in values]
    kinds = bytes(
        DERIVED if value.hex == derived else TIMED if number >> 76 & 0xF in TIMED_VERSIONS else ANY
        for value, number, derived in zip(values, numbers, readings.derived(range(len(values))), strict=True)
    )
    if not kinds:
        return b""
    times = readings.times
    same = kinds.count(kinds[0]) == len(kinds)
    column = kinds[:1] if same else bytes((BOTH,)) + sized(deflated(kinds))
    timed = [(number, at) for number, at, kind in zip(numbers, times, kinds, strict=True) if kind == TIMED]
    column += sized(integers([(number >> REST_BITS) - at // 1000 for number, at in timed]))
    column += b"".join((number & REST).to_bytes(REST_BYTES) for number, _ in timed)
    return column + b"".join(
        number.to_bytes(ID_BYTES) for number, kind in zip(numbers, kinds, strict=True) if kind == ANY
    )


def read_ids(data: bytes, readings: Numbered, places: Sequence[int] | None = None) -> list[UUID]:
    """The ids of the readings at these places, None: of all."""
    # In a tenth of the time of calls of UUID().
    return msgspec.convert(read_digits(data, readings, places), list[UUID])


def read_digits(data: bytes, readings: Numbered, places: Sequence[int] | None = None, *, dash: str = "") -> list[str]:
    """The ids, each as 32 hexadecimal digits, with `dash` between their groups."""
    times = readings.times
    if places is None:
        places = range(len(times))
    if not places:
        return []
    cursor = Cursor(data)
    kinds = cursor.take(1)
    kinds = inflated(cursor.sized(), len(times)) if kinds[0] == BOTH else kinds * len(times)
    if set(kinds) - {ANY, TIMED, DERIVED}:
        raise Damaged("an id has an unknown form")
    timed = kinds.count(TIMED)
    distances = iter(read_integers(cursor.sized(), timed))
    rests = cursor.take(REST_BYTES * timed)
    others = cursor.rest()
    if len(others) != ID_BYTES * kinds.count(ANY):
        raise Damaged("the ids have another length than they say")
    if kinds.count(DERIVED) == len(kinds):
        return readings.derived(places, dash=dash)
    derived = [place for place in places if kinds[place] == DERIVED]
    texts = dict(zip(derived, readings.derived(derived), strict=True))
    rest = other = 0
    hexes, other_hexes = rests.hex(), others.hex()
    for place, (kind, at) in enumerate(zip(kinds, times, strict=True)):
        if kind == TIMED:
            milliseconds = at // 1000 + next(distances)
            if not 0 <= milliseconds < 1 << 48:
                raise Damaged("an id has an impossible time")
            texts[place] = f"{milliseconds:012x}{hexes[rest : rest + 2 * REST_BYTES]}"
            rest += 2 * REST_BYTES
        elif kind == ANY:
            texts[place] = other_hexes[other : other + 2 * ID_BYTES]
            other += 2 * ID_BYTES
    found = [texts[place] for place in places]
    if not dash:
        return found
    return [dash.join((one[:8], one[8:12], one[12:16], one[16:20], one[20:])) for one in found]

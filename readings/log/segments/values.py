"""The column of a metric: which readings have it, which of its values are integers, and the values.

Values are decimals in nearly all logs: 21.5 is stored as 215 with one decimal. What is no short decimal is stored by
its 64 bits, either as an exception or, if there are many, together with all other values of the column.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from itertools import repeat
from operator import truediv
from typing import NamedTuple

from readings.log.segments.integers import (
    Cursor,
    Damaged,
    deflated,
    flags,
    inflated,
    integers,
    read_flags,
    read_integers,
    sized,
    varint,
)

Number = float | int

EVERY, SOME = 0, 1  # readings that have the metric
DOUBLES, INTEGERS, WHOLE_ARE_INTEGERS, MIXED = 0, 1, 2, 3
BITS = 255  # in place of the number of decimals
DECIMALS_MAX = 15
POWERS = [10**decimals for decimals in range(DECIMALS_MAX + 1)]
LARGEST_EXACT = 2**53
# About what an exception and another decimal of a value cost, in bytes.
EXCEPTION_BYTES, DECIMAL_BYTES = 9.0, 0.4


def metric(values: Sequence[Number | None]) -> bytes:
    """The column of one value for each reading; None: it has none."""
    present = [value for value in values if value is not None]
    column = b""
    if len(present) == len(values):
        column += bytes((EVERY,))
    else:
        column += bytes((SOME,)) + sized(flags([value is not None for value in values]))
    return column + types(present) + numbers(present)


def read_metric(data: bytes, count: int) -> list[Number | None]:
    cursor = Cursor(data)
    form = cursor.byte()
    if form not in (EVERY, SOME):
        raise Damaged("a metric has an unknown form")
    having = read_flags(cursor.sized(), count) if form == SOME else None
    present = read_numbers(cursor, count if having is None else sum(having))
    if having is None:
        return list(present)
    following = iter(present)
    return [next(following) if has else None for has in having]


def types(values: Sequence[Number]) -> bytes:
    is_integer = [type(value) is int for value in values]
    if not any(is_integer):
        return bytes((DOUBLES,))
    if all(is_integer):
        return bytes((INTEGERS,))
    if is_integer == [isinstance(value, int) or value.is_integer() for value in values]:
        return bytes((WHOLE_ARE_INTEGERS,))
    return bytes((MIXED,)) + sized(flags(is_integer))


def numbers(values: Sequence[Number]) -> bytes:
    decimals, exceptions = scaled(values)
    if not exceptions:
        return decimals
    if any(type(value) is int and abs(value) > LARGEST_EXACT for value in values):
        return decimals
    return min(decimals, bytes((BITS,)) + integers([bits_of(float(value)) for value in values]), key=len)


class Scaled(NamedTuple):
    """Values as these numbers divided by `power`; 0: the numbers are the values."""

    numbers: list[Number]
    power: int

    def values(self) -> list[Number]:
        return list(map(truediv, self.numbers, repeat(self.power))) if self.power else self.numbers


def read_numbers(cursor: Cursor, count: int) -> list[Number]:
    return read_scaled(cursor, count).values()


def read_scaled(cursor: Cursor, count: int) -> Scaled:
    """The values, not divided yet where all of them are doubles and decimals."""
    form = cursor.byte()
    if form > MIXED:
        raise Damaged("a metric has numbers of an unknown type")
    is_integer = read_flags(cursor.sized(), count) if form == MIXED else None
    decimals = cursor.byte()
    if decimals == BITS:
        doubles = doubles_of(read_integers(cursor.rest(), count))
        return Scaled(typed(doubles, form, is_integer), 0)
    if decimals > DECIMALS_MAX:
        raise Damaged("a metric has too many decimals")
    exceptions = read_exceptions(cursor, count)
    steps = Scaled([*read_integers(cursor.rest(), count)], POWERS[decimals])
    if form == INTEGERS:
        return Scaled(steps.numbers, 0)
    if form == DOUBLES and not exceptions:
        return steps
    found, power = steps.values(), steps.power
    if form == WHOLE_ARE_INTEGERS:
        found = [step // power if not step % power else value for step, value in zip(steps.numbers, found, strict=True)]
    elif is_integer is not None:
        rows = zip(steps.numbers, found, is_integer, strict=True)
        found = [step // power if whole else value for step, value, whole in rows]
    for place, value in exceptions:
        found[place] = value
    return Scaled(found, 0)


def typed(doubles: list[float], form: int, is_integer: list[bool] | None) -> list[Number]:
    """The doubles with those that were integers as such."""
    if form == INTEGERS:
        return [int(value) for value in doubles]
    if form == WHOLE_ARE_INTEGERS:
        return [int(value) if value.is_integer() else value for value in doubles]
    if is_integer is not None:
        return [int(value) if whole else value for value, whole in zip(doubles, is_integer, strict=True)]
    return list(doubles)


def scaled(values: Sequence[Number]) -> tuple[bytes, int]:
    """The values as decimals, and the number of exceptions."""
    counts = Counter(map(decimals_of, values))
    decimals = min(
        range(DECIMALS_MAX + 1),
        key=lambda chosen: sum(
            times * (EXCEPTION_BYTES if needed is None or needed > chosen else DECIMAL_BYTES * chosen)
            for needed, times in counts.items()
        ),
    )
    power = POWERS[decimals]
    steps: list[int] = []
    exceptions: list[tuple[int, float]] = []
    for place, value in enumerate(values):
        step = value * power if type(value) is int else step_of(value, power)
        if step is None:
            exceptions.append((place, value))
            step = steps[-1] if steps else 0
        steps.append(step)
    return bytes((decimals,)) + exception_list(exceptions) + integers(steps), len(exceptions)


def decimals_of(value: Number) -> int | None:
    """The number of decimals with which the double is written; None if that is more than DECIMALS_MAX."""
    if type(value) is int:
        return 0
    text = repr(value)
    if "e" in text or "n" in text:  # an exponent; infinite, not a number
        return next((d for d, power in enumerate(POWERS) if step_of(value, power) is not None), None)
    decimals = 0 if text.endswith(".0") else len(text) - text.index(".") - 1
    return decimals if decimals <= DECIMALS_MAX and step_of(value, POWERS[decimals]) is not None else None


def step_of(value: float, power: int) -> int | None:
    """The integer whose division by `power` gives this double bit for bit; None if there is none up to 2^53."""
    product = value * power
    if not -LARGEST_EXACT <= product <= LARGEST_EXACT:  # also where it is not a number
        return None
    step = round(product)
    # -0.0 equals 0.0, but has other bits.
    return step if step / power == value and (step or bits_of(value) == 0) else None


def exception_list(exceptions: Sequence[tuple[int, float]]) -> bytes:
    """How many there are; then, if any, their places, each counted from the one before, and their bits, deflated."""
    if not exceptions:
        return varint(0)
    places = [place for place, _ in exceptions]
    bits = b"".join(struct.pack("<d", value) for _, value in exceptions)
    return varint(len(exceptions)) + sized(integers(places)) + sized(deflated(bits))


def read_exceptions(cursor: Cursor, count: int) -> list[tuple[int, float]]:
    length = cursor.varint()
    if not length:
        return []
    if length > count:
        raise Damaged("a metric has more exceptions than values")
    places = read_integers(cursor.sized(), length)
    if min(places) < 0 or max(places) >= count:
        raise Damaged("an exception has no place")
    doubles = struct.unpack(f"<{length}d", inflated(cursor.sized(), 8 * length))
    return list(zip(places, doubles, strict=True))


def bits_of(value: float) -> int:
    bits: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return bits


def doubles_of(bits: Sequence[int]) -> list[float]:
    try:
        return list(struct.unpack(f"<{len(bits)}d", struct.pack(f"<{len(bits)}Q", *bits)))
    except struct.error as error:
        raise Damaged("a value has more than 64 bits") from error

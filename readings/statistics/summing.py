"""Sums, minima and maxima of doubles as the database computes them from rows, to the last bit."""

import operator
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache, reduce
from math import fsum

from django.db import connection

# From this version on, SQLite corrects sums for what rounding lost, as `fsum` does.
CORRECTED_SUMS = (3, 43)


@cache
def corrects(vendor: str) -> bool:
    return vendor == "sqlite" and sqlite3.sqlite_version_info >= CORRECTED_SUMS


def summed(values: Sequence[float]) -> float:
    """At least one value, in their order, because Python's `sum` is more exact from version 3.12 on."""
    return adder()(values)


def adder() -> Callable[[Sequence[float]], float]:
    """`summed`, for many calls."""
    return fsum if corrects(connection.vendor) else in_order


def in_order(values: Sequence[float]) -> float:
    return reduce(operator.add, values)


def smallest(values: Sequence[float]) -> float:
    """Of 0.0 and -0.0, which are equal, PostgreSQL takes the last one, and SQLite the first one."""
    found = min(values)
    return found if found or connection.vendor == "sqlite" else min(reversed(values))


def largest(values: Sequence[float]) -> float:
    found = max(values)
    return found if found or connection.vendor == "sqlite" else max(reversed(values))


def total(parts: Sequence[float]) -> float:
    """The sum of sums of several parts, independent of their order."""
    try:
        return fsum(parts)
    except (OverflowError, ValueError):  # too large for a double, or infinities
        return reduce(operator.add, parts)

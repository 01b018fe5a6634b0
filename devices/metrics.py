"""Names, descriptions and largest values of metrics, and how values are shown."""

import re
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache
from typing import Any

import msgspec

# Metrics with their own column; all others are stored in `extra`.
COLUMNS = ("temperature", "humidity", "voltage")
# The units in which devices send the metrics with a column.
UNITS = {"temperature": "°C", "humidity": "%", "voltage": "V"}

# Keys of a reading that are not metrics.
RESERVED = frozenset({"id", "device_id", "seq", "timestamp", "age_seconds"})

# Keys of a posted reading that are ignored: times, because the server's clock dates readings, and the server's `seq`.
# Not reserved, because readings stored before may have a metric such as `ts`.
TIME_NAMES = ("timestamp", "ts", "time", "date", "datetime", "created_at")
IGNORED = frozenset({*TIME_NAMES, "seq"})

METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
EXTRA_METRICS_MAX = 32

# Larger than any physical quantity, but small enough that sums of 10^8 readings stay finite:
# docs/decisions/0003-limit-values-to-1e300.md
LARGEST_VALUE = 1e300

# Up to this value integers in `extra` stay integers, because a double represents each of them exactly.
LARGEST_EXACT_INTEGER = 2**53

# Values from this size on, or smaller than this, are shown with an exponent.
EXPONENT_FROM = 1e16
EXPONENT_BELOW = 1e-6

DECIMALS_MAX = 10
# Metrics without an order of their own come after the others.
ORDER_DEFAULT = 1000
ORDER_MAX = 9999


def is_metric_name(name: str) -> bool:
    """Whether `name` is a valid metric name. The results for up to 1,024 names are cached."""
    return len(name) <= 63 and matches(name)


@lru_cache(1024)
def matches(name: str) -> bool:
    return METRIC_NAME.fullmatch(name) is not None and name not in RESERVED


class Description(msgspec.Struct, frozen=True):
    """How people see a metric.

    `label` may be empty: then it is the name. `decimals`: how many are shown, 0 to DECIMALS_MAX; None: as many as the
    value needs. `order`: metrics with a smaller one come first. `low` and `high`: the plausible range; None: no bound.
    """

    label: str = ""
    unit: str = ""
    decimals: int | None = None
    order: int = ORDER_DEFAULT
    low: float | None = None
    high: float | None = None


PLAIN = Description()


class Catalogue:
    """The descriptions of metrics by name. A metric without one is shown with its name and without a unit."""

    def __init__(self, described: Mapping[str, Description] | None = None) -> None:
        self.described = described or {}

    def of(self, name: str) -> Description:
        return self.described.get(name, PLAIN)

    def label(self, name: str) -> str:
        return self.of(name).label or label_of(name)

    def text(self, name: str, value: float) -> str:
        """The value with its unit: `21.5 °C`."""
        description = self.of(name)
        return f"{shown(value, description.decimals)} {description.unit}".rstrip()

    def heading(self, name: str) -> str:
        """The label with the unit, for a column: `temperature (°C)`."""
        unit = self.of(name).unit
        return f"{self.label(name)} ({unit})" if unit else self.label(name)

    def in_order(self, names: Iterable[str]) -> list[str]:
        """The names by the order of their descriptions, then by name."""
        return sorted(names, key=lambda name: (self.of(name).order, name))

    def units(self) -> dict[str, str]:
        """The unit of each metric that has one, by name."""
        return {name: of.unit for name, of in self.described.items() if of.unit}

    def documents(self) -> dict[str, list[Any]]:
        """For the pages' metrics.js: [label, unit, decimals, order, low, high] by name."""
        return {name: list(msgspec.structs.astuple(of)) for name, of in self.described.items()}


def label_of(name: str) -> str:
    """The label of a metric that has none of its own."""
    return name.replace("_", " ")


def shown(value: float, decimals: int | None = None) -> str:
    """A value as pages show it: 21.25, 1,024.4, 12,345,678, 1.5e300; `number` in the pages' format.js is the same.

    Every digit before the point, and `decimals` after it; None: as many as a reader needs: 4 significant digits below
    1, else 3 decimals below 10, 2 below 1,000, and 1.
    """
    size = abs(value)
    if size >= EXPONENT_FROM or (decimals is None and 0 < size < EXPONENT_BELOW):
        digits, exponent = f"{value:.4e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    exact = Decimal(repr(float(value)))  # the shortest decimal, as JavaScript rounds it
    if decimals is not None:
        rounded = exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
        return f"{rounded or abs(rounded):,f}"  # no minus before a zero
    if size == 0:
        return "0"
    if size < 1:
        rounded = Context(prec=4, rounding=ROUND_HALF_UP).plus(exact)
    else:
        decimals = 3 if size < 10 else 2 if size < 1000 else 1
        rounded = exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

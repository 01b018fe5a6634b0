"""Names, units and largest values of metrics."""

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import lru_cache

# Metrics with their own column; all others are stored in `extra`.
COLUMNS = ("temperature", "humidity", "voltage")
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


def is_metric_name(name: str) -> bool:
    """Whether `name` is a valid metric name. The results for up to 1,024 names are cached."""
    return len(name) <= 63 and matches(name)


@lru_cache(1024)
def matches(name: str) -> bool:
    return METRIC_NAME.fullmatch(name) is not None and name not in RESERVED


def shown(value: float) -> str:
    """A value as pages show it: 21.25, 1,024.4, 12,345,678, 1.5e300; `number` in the pages' format.js is the same.

    Every digit before the point, and as many after it as a reader needs: 4 significant digits below 1, else 3 decimals
    below 10, 2 below 1,000, and 1.
    """
    size = abs(value)
    if size == 0:
        return "0"
    if size >= EXPONENT_FROM or size < EXPONENT_BELOW:
        digits, exponent = f"{value:.4e}".split("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
    exact = Decimal(repr(float(value)))  # the shortest decimal, as JavaScript rounds it
    if size < 1:
        rounded = Context(prec=4, rounding=ROUND_HALF_UP).plus(exact)
    else:
        decimals = 3 if size < 10 else 2 if size < 1000 else 1
        rounded = exact.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text

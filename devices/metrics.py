"""Names, units and largest values of metrics."""

import re
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


def is_metric_name(name: str) -> bool:
    """Whether `name` is a valid metric name. The results for up to 1,024 names are cached."""
    return len(name) <= 63 and matches(name)


@lru_cache(1024)
def matches(name: str) -> bool:
    return METRIC_NAME.fullmatch(name) is not None and name not in RESERVED

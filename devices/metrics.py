"""What a metric is called and what it may be worth."""

import re
from functools import lru_cache

# Metrics with a column of their own; any other is kept in `extra`.
COLUMNS = ("temperature", "humidity", "voltage")
UNITS = {"temperature": "°C", "humidity": "%", "voltage": "V"}

# Keys of a reading that are no metric.
RESERVED = frozenset({"id", "device_id", "seq", "timestamp", "age_seconds"})

METRIC_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
EXTRA_METRICS_MAX = 32

# Far beyond any quantity, and small enough that sums of 10^8 readings stay finite:
# docs/decisions/0003-limit-values-to-1e300.md
LARGEST_VALUE = 1e300

# Whole numbers stay whole in `extra` up to here, where a double still tells neighbours apart.
LARGEST_EXACT_INTEGER = 2**53


def is_metric_name(name: str) -> bool:
    """Whether `name` may be a metric's. Quick for the names one has seen: a fleet has few."""
    return len(name) <= 63 and matches(name)


@lru_cache(1024)
def matches(name: str) -> bool:
    return METRIC_NAME.fullmatch(name) is not None and name not in RESERVED

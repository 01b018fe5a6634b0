"""Which device a line belongs to, and which metrics its fields are."""

from functools import lru_cache

import msgspec

from devices.validators import DEVICE_ID_PATTERN, is_device_id
from readings.doors.influx.line_protocol import parse_series
from readings.doors.translation import metric_name
from readings.log.entries import Refusal

# The field whose metric has the name of the measurement.
VALUE = "value"
# Longer series and names are not cached, so that the caches stay below 10 MB.
CACHED_CHARACTERS = 500


class Series(msgspec.Struct, frozen=True):
    """What measurement and tags of a line say. `problem`: why its lines are refused, else None."""

    device_id: str
    measurement: str
    problem: Refusal | None = None


def series_of(encoded: str, device_id: str | None, device_tags: tuple[str, ...]) -> Series:
    """The series of a line. `device_id`: the device of the key; None if the line names its device in one of
    `device_tags`; of those that the line has, the first in `device_tags` counts. Raises InvalidLine.
    """
    cached = len(encoded) <= CACHED_CHARACTERS
    return (known_series if cached else known_series.__wrapped__)(encoded, device_id, device_tags)


@lru_cache(8192)
def known_series(encoded: str, device_id: str | None, device_tags: tuple[str, ...]) -> Series:
    measurement, tags = parse_series(encoded)
    if device_id is not None:
        return Series(device_id, measurement)
    named = next((tags[tag] for tag in device_tags if tag in tags), None)
    if named is None:
        detail = f"With a fleet key a line must name its device in a tag: {', '.join(device_tags)}."
        return Series("", measurement, Refusal("device_id", "required", detail))
    if not is_device_id(named):
        detail = f"A device_id must match ^{DEVICE_ID_PATTERN}$."
        return Series("", measurement, Refusal("device_id", "invalid_device_id", detail))
    return Series(named, measurement)


def metrics_of(measurement: str, names: tuple[str, ...]) -> tuple[str, ...] | None:
    """The metrics of fields with these names, in their order; None if they are the names themselves."""
    cached = len(measurement) + sum(map(len, names)) <= CACHED_CHARACTERS
    return (known_metrics if cached else known_metrics.__wrapped__)(measurement, names)


@lru_cache(1024)
def known_metrics(measurement: str, names: tuple[str, ...]) -> tuple[str, ...] | None:
    metrics = tuple(metric_name(measurement if name == VALUE else name) for name in names)
    return None if metrics == names else metrics

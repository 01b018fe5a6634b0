"""What all doors share: a decoded document, as other programs send it, becomes a reading.

Nested names are joined (`a.b` becomes `a_b`), names become metric names, true and false become 1 and 0. What cannot be
a metric, such as text, is skipped and named; the rest is stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec

from devices.metrics import COLUMNS, EXTRA_METRICS_MAX, LARGEST_EXACT_INTEGER, LARGEST_VALUE, is_metric_name
from readings.doors.times import Receipt
from readings.ingest.folded_names import folded
from readings.ingest.payloads import NOT_METRICS, InvalidReading, metric_value
from readings.log.entries import NewReading, Refusal
from readings.log.ids import derived_ids

# The names in order, so that equal values have equal texts.
encoder = msgspec.json.Encoder(order="deterministic")

# Objects inside objects beyond this depth are skipped.
DEPTH_MAX = 8
# Characters of a sent name that are looked at. A metric name has at most 63.
NAME_CHARACTERS = 256

TEXT = "skipped_text"
LIST = "skipped_list"
DEPTH = "skipped_depth"
RANGE = "skipped_range"
NAME = "skipped_name"
UNDECODED = "skipped_payload"
# Of a skipped value: its code, and what its detail says.
SKIPPED = {
    TEXT: "Text is not stored.",
    LIST: "A list is not stored.",
    DEPTH: f"An object more than {DEPTH_MAX} levels deep is not stored.",
    RANGE: f"A value beyond ±{LARGEST_VALUE:g} is not stored.",
    NAME: "Another field of the same reading has the same metric name; the later value is stored.",
    UNDECODED: "The payload is not decoded. Give the device a payload formatter (a codec) in the network server.",
}
TOO_MANY = Refusal("", "too_many_metrics", f"At most {EXTRA_METRICS_MAX} metrics in addition to {', '.join(COLUMNS)}.")


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """A value that was not stored. `name` as it was sent, nested names joined with dots; `code`: a key of SKIPPED."""

    name: str
    code: str


class Translation(msgspec.Struct):
    """`reading` is None if the document has no value that can be stored, which is no error."""

    reading: NewReading | Refusal | None
    skipped: list[Skipped]


def translate(
    document: Mapping[str, Any],
    *,
    device_id: str,
    receipt: Receipt,
    time_ns: int | None = None,
    reading_id: UUID | None = None,
) -> Translation:
    """The reading in a decoded JSON object, for this device.

    `time_ns`: the sent time, as in `Receipt.measured_at`. Without a `reading_id`, one is derived from a sent time, so
    that a repeated post is a duplicate. Without both, a repeated post is a second reading.
    """
    values, skipped = values_of(document)
    if not values:
        return Translation(None, skipped)
    try:
        timestamp = receipt.measured_at(time_ns)
    except InvalidReading as error:
        return Translation(error.refusal, skipped)
    if reading_id is None and time_ns is not None:
        reading_id = identity(device_id, time_ns, values)
    return Translation(reading_of(device_id, timestamp, reading_id, values), skipped)


def values_of(document: Mapping[str, Any]) -> tuple[dict[str, float], list[Skipped]]:
    """The values of a decoded JSON object by metric name, and what was skipped. null is absent."""
    values: dict[str, float] = {}
    sent: dict[str, str] = {}  # by metric name the name as it was sent
    skipped: list[Skipped] = []
    for name, value in flattened(document):
        if value is None:
            continue
        number = number_of(value)
        if isinstance(number, str):
            skipped.append(Skipped(name, number))
            continue
        metric = metric_name(name)
        if metric in values:
            skipped.append(Skipped(sent[metric], NAME))
        values[metric] = number
        sent[metric] = name
    return values, skipped


def flattened(document: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    """The members of an object and of the objects in it, with their names joined by dots."""
    for name, value in document.items():
        joined = prefix + name[:NAME_CHARACTERS]
        if isinstance(value, dict) and depth < DEPTH_MAX:
            yield from flattened(value, f"{joined}.", depth + 1)
        else:
            yield joined, value


@lru_cache(4096)
def metric_name(name: str) -> str:
    """The metric name for a sent name: `battery.V` becomes `battery_v`, `Temp (°C)` `temp_c`, `time` `x_time`."""
    if is_metric_name(name) and name not in NOT_METRICS:
        return name
    return folded(name[:NAME_CHARACTERS], reserved=NOT_METRICS)


def number_of(value: Any) -> float | str:
    """The number for a decoded JSON value other than null; for a value that is skipped, its code."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list):
        return LIST
    if isinstance(value, dict):
        return DEPTH
    try:
        number = metric_value("", value)
    except InvalidReading as error:
        return RANGE if error.refusal.code == "out_of_range" else TEXT
    # The nearest double, because nobody reads at a door that an integer was rounded.
    return float(number) if isinstance(number, int) and abs(number) > LARGEST_EXACT_INTEGER else number


def reading_of(
    device_id: str, timestamp: datetime, reading_id: UUID | None, values: dict[str, float]
) -> NewReading | Refusal:
    """The reading with these values, at least one, by metric name; a refusal if they are too many. Takes `values`."""
    temperature, humidity, voltage = (
        values.pop("temperature", None),
        values.pop("humidity", None),
        values.pop("voltage", None),
    )
    if len(values) > EXTRA_METRICS_MAX:
        return TOO_MANY
    return NewReading(
        device_id,
        timestamp,
        reading_id,
        None if temperature is None else float(temperature),
        None if humidity is None else float(humidity),
        None if voltage is None else float(voltage),
        values,
    )


def identity(device_id: str, time_ns: int, values: dict[str, float]) -> UUID:
    """The id of a reading that was sent with a time and without an id: equal readings get equal ids."""
    (found,) = identities([device_id], [time_ns], [values])
    assert found is not None
    return found


def identities(
    devices: Sequence[str], times_ns: Sequence[int | None], values: Sequence[dict[str, float]]
) -> Sequence[UUID | None]:
    """The `identity` of each of these readings, which have values; None for one without a time."""
    # All values at once. Metric names and numbers contain no braces.
    texts = encoder.encode(values)[2:-2].split(b"},{")
    timed = [
        (b"%b|%d|{%b}" % (device_id.encode(), time_ns, text), time_ns // 1_000_000)
        for device_id, time_ns, text in zip(devices, times_ns, texts, strict=True)
        if time_ns is not None
    ]
    ids = derived_ids([text for text, _ in timed], [milliseconds for _, milliseconds in timed])
    if len(timed) == len(devices):
        return ids
    remaining = iter(ids)
    return [None if time_ns is None else next(remaining) for time_ns in times_ns]

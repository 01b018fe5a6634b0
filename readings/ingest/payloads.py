"""Validates decoded JSON payloads and converts them to a `NewReading`."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from devices.metrics import (
    COLUMNS,
    EXTRA_METRICS_MAX,
    IGNORED,
    LARGEST_EXACT_INTEGER,
    LARGEST_VALUE,
    RESERVED,
    TIME_NAMES,
    is_metric_name,
)
from devices.validators import DEVICE_ID_PATTERN, is_device_id
from readings.log.entries import NewReading, Refusal

AGE_SECONDS_MAX = 31 * 86_400
BATCH_READINGS_MAX = 10_000

NOT_METRICS = RESERVED | IGNORED
AGE_HINT = (
    "The server's clock dates readings. For a reading that was measured earlier, send age_seconds: how many seconds "
    "ago it was measured."
)
# Allowed around a number in a string (RFC 8259, section 2).
WHITESPACE = " \t\r\n"

# A JSON number (RFC 8259, section 6), optionally with a leading +. `float()` would also accept "nan", "1_000" and "١٢".
# The pattern has only one way to match a text, because with two, a long text that fails would take quadratic time.
NUMERIC = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


class InvalidReading(Exception):
    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(field, code, detail)


def parse_reading(payload: Any, *, device_id: str | None, received_at: datetime) -> NewReading:
    """Converts a payload that was received at `received_at`.

    `device_id` is the device of the key; None for a fleet key, with which the payload must contain `device_id`.
    Raises InvalidReading for the first error.
    """
    if not isinstance(payload, dict):
        raise InvalidReading("", "not_an_object", 'A reading is a JSON object, such as {"temperature": 21.5}.')
    columns: dict[str, float] = {}
    extra: dict[str, float] = {}
    ignored: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    for name, value in payload.items():
        if name in COLUMNS:
            if value is not None:
                number = metric_value(name, value)
                if type(number) is int:
                    if number != float(number):
                        rounded += (name,)
                    number = float(number)
                columns[name] = number
        elif name in NOT_METRICS:
            if name in IGNORED and value is not None:
                ignored += (name,)
        elif not is_metric_name(name):
            shown = name if len(name) <= 80 else name[:80] + "…"
            raise InvalidReading(shown, "invalid_name", "A metric name must match ^[a-z][a-z0-9_]{0,62}$.")
        elif value is not None:
            number = metric_value(name, value)
            if type(number) is int and not -LARGEST_EXACT_INTEGER <= number <= LARGEST_EXACT_INTEGER:
                if number != float(number):
                    rounded += (name,)
                number = float(number)
            extra[name] = number
    if not columns and not extra:
        detail = "A reading needs at least one metric."
        if times := ", ".join(name for name in ignored if name in TIME_NAMES):
            detail += f" Not used: {times}. {AGE_HINT}"
        raise InvalidReading("", "no_metrics", detail)
    if len(extra) > EXTRA_METRICS_MAX:
        raise InvalidReading(
            "", "too_many_metrics", f"At most {EXTRA_METRICS_MAX} metrics in addition to {', '.join(COLUMNS)}."
        )
    return NewReading(
        owner(payload.get("device_id"), device_id),
        measured_at(payload.get("age_seconds"), received_at),
        reading_id(payload.get("id")),
        columns.get("temperature"),
        columns.get("humidity"),
        columns.get("voltage"),
        extra,
        ignored,
        rounded,
    )


def metric_value(name: str, value: Any) -> float:
    """The value of a number, or of a string with a number, as an int or a float; -0.0 becomes 0.0.

    SQLite cannot store -0.0. Raises InvalidReading.
    """
    if type(value) is float and -LARGEST_VALUE <= value <= LARGEST_VALUE:
        return value or 0.0  # the most frequent case
    if isinstance(value, str):
        value = number_in(name, value)
    # bool is a subclass of int in Python, but not a number in JSON.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidReading(name, "not_a_number", "The value is not a number.")
    # Refuses NaN too, and works for integers beyond the range of a float.
    if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
        raise InvalidReading(name, "out_of_range", f"The value is beyond ±{LARGEST_VALUE:g}.")
    return value


def number_in(name: str, text: str) -> float:
    """The number in a string. A large integer stays an int, so that its rounding is noticed. Raises InvalidReading."""
    text = text.strip(WHITESPACE)
    if not NUMERIC.fullmatch(text):
        raise InvalidReading(name, "not_a_number", "The value is text, not a number.")
    value = float(text) + 0.0
    if LARGEST_EXACT_INTEGER <= abs(value) <= LARGEST_VALUE and (digits := text.lstrip("+-0")).isdecimal():
        return int(digits) if value > 0 else -int(digits)
    return value


def whole(value: float) -> float:
    """Keeps an integer if a double represents it exactly, so that -67 is not returned as -67.0."""
    return value if isinstance(value, int) and abs(value) <= LARGEST_EXACT_INTEGER else float(value)


def measured_at(age_seconds: Any, received_at: datetime) -> datetime:
    if age_seconds is None:
        return received_at
    age = metric_value("age_seconds", age_seconds)
    if not 0 <= age <= AGE_SECONDS_MAX:
        raise InvalidReading("age_seconds", "out_of_range", f"age_seconds must be 0 to {AGE_SECONDS_MAX} (31 days).")
    return received_at - timedelta(seconds=age)


def owner(named: Any, authenticated: str | None) -> str:
    if named is None:
        if authenticated is None:
            raise InvalidReading("device_id", "required", "With a fleet key each reading must contain its device_id.")
        return authenticated
    if not isinstance(named, str) or not is_device_id(named):
        raise InvalidReading("device_id", "invalid_device_id", f"A device_id must match ^{DEVICE_ID_PATTERN}$.")
    if authenticated is not None and named != authenticated:
        raise InvalidReading("device_id", "other_device", "This key may write only for its own device.")
    return named


def reading_id(value: Any) -> UUID | None:
    if value is None:
        return None
    try:
        return msgspec.convert(value, UUID)
    except msgspec.ValidationError as error:
        detail = "An id must be a UUID, such as 0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b."
        raise InvalidReading("id", "invalid_id", detail) from error

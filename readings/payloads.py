"""What a device may send, and what becomes of it: from decoded JSON to a `NewReading`."""

import re
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from devices.validators import DEVICE_ID_PATTERN
from readings.metrics import (
    COLUMNS,
    EXTRA_METRICS_MAX,
    LARGEST_EXACT_INTEGER,
    LARGEST_VALUE,
    RESERVED,
    is_metric_name,
)

AGE_SECONDS_MAX = 31 * 86_400
BATCH_READINGS_MAX = 10_000

# Sent, but never trusted: the server's clock alone dates readings, and it numbers them.
IGNORED = ("timestamp", "seq")

# A JSON number, a leading + allowed (RFC 8259, section 6): `float()` would take "nan", "1_000" and "١٢" too.
# Written so that there is one way to match it: with two, a long one that fails takes quadratic time.
NUMERIC = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


class NewReading(msgspec.Struct, frozen=True, kw_only=True):
    """A valid reading that has no number yet. `timestamp` is when it was measured, in UTC."""

    device_id: str
    timestamp: datetime
    id: UUID | None = None
    temperature: float | None = None
    humidity: float | None = None
    voltage: float | None = None
    extra: dict[str, float] = {}
    ignored: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """Why a reading is not stored: `field` of the payload (empty: all of it), a code for programs, words for people."""

    field: str
    code: str
    detail: str


class InvalidReading(Exception):
    def __init__(self, field: str, code: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(field, code, detail)


def parse_reading(payload: Any, *, device_id: str | None, received_at: datetime) -> NewReading:
    """The reading that `payload` describes, received at `received_at`.

    `device_id` is the device whose key came with it; None for a fleet key, when the payload has to name it.
    Raises InvalidReading for the first thing wrong with it.
    """
    if not isinstance(payload, dict):
        raise InvalidReading("", "not_an_object", 'A reading is a JSON object, such as {"temperature": 21.5}.')
    columns: dict[str, float] = {}
    extra: dict[str, float] = {}
    for name, value in payload.items():
        if name in RESERVED:
            continue
        if not is_metric_name(name):
            shown = name if len(name) <= 80 else name[:80] + "…"
            raise InvalidReading(shown, "invalid_name", "A metric's name matches ^[a-z][a-z0-9_]{0,62}$.")
        if value is not None:
            (columns if name in COLUMNS else extra)[name] = metric_value(name, value)
    if not columns and not extra:
        raise InvalidReading("", "no_metrics", "A reading needs at least one metric.")
    if len(extra) > EXTRA_METRICS_MAX:
        raise InvalidReading(
            "", "too_many_metrics", f"At most {EXTRA_METRICS_MAX} metrics beside {', '.join(COLUMNS)}."
        )
    age_seconds = metric_value("age_seconds", payload["age_seconds"]) if payload.get("age_seconds") is not None else 0
    if not 0 <= age_seconds <= AGE_SECONDS_MAX:
        raise InvalidReading("age_seconds", "out_of_range", f"age_seconds is 0 to {AGE_SECONDS_MAX} (31 days).")
    return NewReading(
        device_id=owner(payload.get("device_id"), device_id),
        timestamp=received_at - timedelta(seconds=age_seconds),
        id=reading_id(payload.get("id")),
        extra={name: whole(value) for name, value in extra.items()},
        ignored=tuple(name for name in IGNORED if payload.get(name) is not None),
        **{name: float(value) for name, value in columns.items()},
    )


def metric_value(name: str, value: Any) -> float:
    if isinstance(value, str):
        if not NUMERIC.fullmatch(value):
            raise InvalidReading(name, "not_a_number", "The value is text, not a number.")
        value = float(value)
    # bool is an int to Python, and no number to anyone else.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidReading(name, "not_a_number", "The value is not a number.")
    # Never true of NaN, and safe for whole numbers that no float can hold.
    if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
        raise InvalidReading(name, "out_of_range", f"The value is beyond ±{LARGEST_VALUE:g}.")
    return value


def whole(value: float) -> float:
    """A whole number as it was sent where a double can hold it, so that -67 does not come back as -67.0."""
    return value if isinstance(value, int) and abs(value) <= LARGEST_EXACT_INTEGER else float(value)


def owner(named: Any, authenticated: str | None) -> str:
    if named is None:
        if authenticated is None:
            raise InvalidReading("device_id", "required", "With a fleet key each reading names its device_id.")
        return authenticated
    if not isinstance(named, str) or not re.fullmatch(DEVICE_ID_PATTERN, named):
        raise InvalidReading("device_id", "invalid_device_id", f"A device_id matches ^{DEVICE_ID_PATTERN}$.")
    if authenticated is not None and named != authenticated:
        raise InvalidReading("device_id", "other_device", "This key writes for its own device alone.")
    return named


def reading_id(value: Any) -> UUID | None:
    if value is None:
        return None
    if not isinstance(value, str) or not UUID_TEXT.fullmatch(value):
        raise InvalidReading("id", "invalid_id", "An id is a UUID, such as 0198c5a0-7b1e-7c3a-9f00-2b1d4e5f6a7b.")
    return UUID(value)

"""The field for metrics without a column of their own."""

from typing import TYPE_CHECKING, Any

import msgspec
from django.db import models

from devices.metrics import LARGEST_EXACT_INTEGER

if TYPE_CHECKING:
    Base = models.JSONField[dict[str, float], dict[str, float]]
else:
    Base = models.JSONField


class ExtraField(Base):
    """A JSON object of metrics. It returns the same numbers of the same type in the same order from every database.

    The order is that of the names, because PostgreSQL does not keep the order in which they were stored.

    PostgreSQL stores the numbers of a `jsonb` as decimals and writes the double 1e300 with 301 digits, which JSON reads
    as an integer. An integer is stored as one only up to LARGEST_EXACT_INTEGER, so every larger one is a double.
    """

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        if not isinstance(value, str):
            return super().from_db_value(value, expression, connection)
        return {} if value == "{}" else decoded_extra(value)

    def deconstruct(self) -> Any:
        """Says that it is a JSONField, because that is how the database stores it."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs


def decoded_extra(text: str) -> Any:
    """The metrics of the JSON text of a database, as an ExtraField has them."""
    decoded = msgspec.json.decode(text)
    if not isinstance(decoded, dict):
        return decoded
    # Without a call for each double, because a page has thousands.
    return {name: number if type(number := decoded[name]) is float else as_stored(number) for name in sorted(decoded)}


def as_stored(number: float) -> float:
    exact = type(number) is float or -LARGEST_EXACT_INTEGER <= number <= LARGEST_EXACT_INTEGER
    return number if exact else float(number)

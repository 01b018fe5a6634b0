"""Fields of serializers that several packages use."""

import math
from typing import Any

from rest_framework import serializers

from devices.metrics import LARGEST_VALUE


class FiniteField(serializers.FloatField):
    """A finite number of at most ±1e300, not a text. Not required; null is allowed."""

    default_error_messages = {"not_finite": "The value must be a finite number of at most ±1e300."}

    def __init__(self, *, least: float = -LARGEST_VALUE, **kwargs: Any) -> None:
        super().__init__(min_value=least, max_value=LARGEST_VALUE, required=False, allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            value = float(data)
        except OverflowError:
            self.fail("not_finite")
        if not math.isfinite(value):
            self.fail("not_finite")
        return value

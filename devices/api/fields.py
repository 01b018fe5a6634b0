"""Fields of serializers that several packages use."""

import math
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.api.serializers import StrictCharField
from devices.metrics import LARGEST_VALUE
from devices.validators import DEVICE_ID_PATTERN, validate_device_id


@extend_schema_field({"type": "string", "pattern": f"^{DEVICE_ID_PATTERN}$"})
class DeviceIdField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=64, trim_whitespace=False, validators=[validate_device_id], **kwargs)


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

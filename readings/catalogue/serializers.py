from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from devices.api.fields import FiniteField
from devices.api.serializers import StrictCharField, StrictIntegerField, StrictSerializer
from devices.metrics import DECIMALS_MAX, ORDER_MAX
from readings.models import LABEL_LENGTH, UNIT_LENGTH, Metric, validate_single_line

# As `models.SINGLE_LINE`, in the syntax of JSON Schema.
SINGLE_LINE = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"


class SingleLineField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            validators=[validate_single_line], required=False, allow_blank=True, trim_whitespace=False, **kwargs
        )


@extend_schema_field({"type": "string", "maxLength": LABEL_LENGTH, "pattern": SINGLE_LINE})
class LabelField(SingleLineField):
    """What people call the metric; empty: its name."""


@extend_schema_field({"type": "string", "maxLength": UNIT_LENGTH, "pattern": SINGLE_LINE})
class UnitField(SingleLineField):
    """The unit, such as hPa; empty: none."""


class MetricChangesSerializer(StrictSerializer):
    """Changes of an entry of the catalogue. Fields that are not sent stay unchanged."""

    label = LabelField(max_length=LABEL_LENGTH)  # type: ignore[assignment]  # DRF takes the field out of the class
    unit = UnitField(max_length=UNIT_LENGTH)
    decimals = StrictIntegerField(
        min_value=0,
        max_value=DECIMALS_MAX,
        allow_null=True,
        required=False,
        help_text="How many decimals are shown; null: as many as the value needs.",
    )
    order = StrictIntegerField(
        min_value=0, max_value=ORDER_MAX, required=False, help_text="Metrics with a smaller number come first."
    )
    low = FiniteField(help_text="The lowest plausible value; null: no bound.")
    high = FiniteField(help_text="The highest plausible value; null: no bound.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        low, high = (attrs.get(name, getattr(self.instance, name)) for name in ("low", "high"))
        if low is not None and high is not None and low >= high:
            detail = ErrorDetail(f"The lowest plausible value ({low}) must be less than the highest.", code="no_range")
            raise serializers.ValidationError({"low" if "low" in attrs else "high": detail})
        return attrs

    def update(self, instance: Metric, validated_data: dict[str, Any]) -> Metric:
        """Saves the fields whose value differs, and leaves them in `before` and their names in `changed`."""
        self.changed = [name for name, value in validated_data.items() if getattr(instance, name) != value]
        self.before = {name: getattr(instance, name) for name in self.changed}
        for name in self.changed:
            setattr(instance, name, validated_data[name])
        if self.changed:
            instance.save(update_fields=self.changed)
        return instance

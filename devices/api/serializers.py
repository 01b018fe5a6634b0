"""Input and output of the device endpoints. Input is strict: a wrong type or an unknown field is an error."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.api.openapi import LATEST
from devices.models import REPORT_INTERVAL_SECONDS_MAX, Device
from devices.status import Status
from devices.validators import validate_device_id

OVERLAP_SECONDS_DEFAULT = 24 * 3600
OVERLAP_SECONDS_MAX = 31 * 86_400


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown fields, so that spelling mistakes are noticed."""

    default_error_messages = {"unknown_field": "There is no such field."}

    def to_internal_value(self, data: Any) -> Any:
        values = super().to_internal_value(data)
        if unknown := [name for name in data if name not in self.fields]:
            message = str(self.error_messages["unknown_field"])
            raise serializers.ValidationError(
                {name[:80]: serializers.ErrorDetail(message, code="unknown_field") for name in unknown[:20]}
            )
        return values


class StrictCharField(serializers.CharField):
    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


# The database accepts any text without NUL. drf-spectacular adds to the schema that it may be empty.
TEXT = {"type": "string", "maxLength": 255, "minLength": 1, "pattern": r"^[^\u0000]*$"}


@extend_schema_field(TEXT)
class NameField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=255, required=False, allow_blank=True, trim_whitespace=False, **kwargs)


@extend_schema_field(TEXT)
class SearchField(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=255, required=False, allow_blank=True, **kwargs)


class StrictBooleanField(serializers.BooleanField):
    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictIntegerField(serializers.IntegerField):
    def to_internal_value(self, data: Any) -> int:
        # 60.0 is accepted too, because JSON has only one type of number.
        whole = isinstance(data, int) or (isinstance(data, float) and data.is_integer())
        if isinstance(data, bool) or not whole:
            self.fail("invalid")
        return int(data)


class ReportIntervalField(StrictIntegerField):
    """Seconds between two reports; null means the server's default."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            min_value=1,
            max_value=REPORT_INTERVAL_SECONDS_MAX,
            allow_null=True,
            required=False,
            help_text=self.__doc__,
            **kwargs,
        )


class NewDeviceSerializer(StrictSerializer):
    device_id = StrictCharField(max_length=64, trim_whitespace=False, validators=[validate_device_id])
    name = NameField()
    report_interval = ReportIntervalField()


class DeviceChangesSerializer(StrictSerializer):
    name = NameField()
    is_active = StrictBooleanField(required=False)
    report_interval = ReportIntervalField()

    def update(self, instance: Device, validated_data: dict[str, Any]) -> Device:
        """Saves the fields whose value differs, and leaves their names in `changed`."""
        self.changed = [name for name, value in validated_data.items() if getattr(instance, name) != value]
        for name in self.changed:
            setattr(instance, name, validated_data[name])
        if self.changed:
            instance.save(update_fields=self.changed)
        return instance


class RotationSerializer(StrictSerializer):
    overlap_seconds = StrictIntegerField(
        min_value=0,
        max_value=OVERLAP_SECONDS_MAX,
        default=OVERLAP_SECONDS_DEFAULT,
        help_text="How long the current key keeps working, in seconds. 0 ends every earlier key immediately.",
    )
    force = StrictBooleanField(
        default=False,
        help_text="Rotate although an earlier key is still within its overlap: that key ends immediately, and the "
        "current key works for `overlap_seconds`.",
    )


class QuerySerializer(StrictSerializer):
    """Query parameters of a URL. Unlike in a form, an empty parameter is not treated as absent."""

    default_error_messages = {"unknown_field": "There is no such parameter."}

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(dict(data.items()))


class DeviceFiltersSerializer(QuerySerializer):
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    is_active = serializers.ChoiceField(choices=["true", "false"], required=False)
    search = SearchField(help_text="Part of the device id or the name.")
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100, help_text="Page size.")
    cursor = serializers.CharField(required=False, help_text="The cursor in `next` of the previous page.")


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """`may_view_readings` in the context decides whether `latest` is shown; otherwise it is null."""

    last_seen_at = serializers.DateTimeField(source="state.last_seen_at", allow_null=True, read_only=True)
    last_seq = serializers.IntegerField(source="state.last_seq", read_only=True)
    status = serializers.ChoiceField(choices=Status.choices, read_only=True)
    latest = serializers.SerializerMethodField()

    class Meta:
        model = Device
        fields = [
            "id",
            "device_id",
            "name",
            "is_active",
            "created_at",
            "last_seen_at",
            "last_seq",
            "status",
            "report_interval",
            "latest",
        ]
        read_only_fields = fields

    @extend_schema_field(LATEST)
    def get_latest(self, device: Device) -> dict[str, Any] | None:
        return device.state.latest_document() if self.context["may_view_readings"] else None


class DeviceWithKeySerializer(DeviceSerializer):
    """A device with its new key, which is shown only once."""

    latest = None  # type: ignore[assignment]  # removes the inherited field, as DRF documents
    api_key = serializers.CharField(read_only=True)

    class Meta(DeviceSerializer.Meta):
        fields = [*(name for name in DeviceSerializer.Meta.fields if name != "latest"), "api_key"]
        read_only_fields = fields

"""Input and output of the device endpoints. Input is strict: a wrong type or an unknown field is an error."""

from typing import Any

from django.db.models import QuerySet
from django.http import QueryDict
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from devices.api.openapi import LATEST, TAG_NAME
from devices.models import LOCATION_CHARACTERS, NOTES_CHARACTERS, REPORT_INTERVAL_SECONDS_MAX, Device, Tag
from devices.status import Status
from devices.tags.names import TAGS_IN_FILTER_MAX, TAGS_OF_DEVICE_MAX, validate_tag_name
from devices.validators import validate_device_id

OVERLAP_SECONDS_DEFAULT = 24 * 3600
OVERLAP_SECONDS_MAX = 31 * 86_400
OF_DEVICE = "The names of the device's tags, in alphabetical order. Upper and lower case do not matter."
FILTER = "Only what has this tag; given several times, only what has all of them."


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


def text_schema(characters: int) -> dict[str, Any]:
    """The database accepts any text without NUL. drf-spectacular adds to the schema that it may be empty."""
    return {"type": "string", "maxLength": characters, "minLength": 1, "pattern": r"^[^\u0000]*$"}


TEXT = text_schema(255)


@extend_schema_field(TEXT)
class NameField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=255, required=False, allow_blank=True, trim_whitespace=False, **kwargs)


@extend_schema_field(text_schema(LOCATION_CHARACTERS))
class LocationField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        text: Any = {"max_length": LOCATION_CHARACTERS, "allow_blank": True, "trim_whitespace": False}
        super().__init__(required=False, help_text="Where the device is, in words.", **text, **kwargs)


@extend_schema_field(text_schema(NOTES_CHARACTERS))
class NotesField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        text: Any = {"max_length": NOTES_CHARACTERS, "allow_blank": True, "trim_whitespace": False}
        super().__init__(required=False, help_text="For people. Devices cannot read it.", **text, **kwargs)


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


class DegreesField(serializers.FloatField):
    """An angle from -`most` to `most` degrees; null: unknown. With the other coordinate or not at all."""

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        super().__init__(min_value=-most, max_value=most, allow_null=True, required=False, **kwargs)

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        # -0.0 is stored as 0.0, like in readings.
        return float(super().to_internal_value(data)) + 0.0


class QuerySerializer(StrictSerializer):
    """Query parameters of a URL. Unlike in a form, an empty parameter is not treated as absent."""

    default_error_messages = {"unknown_field": "There is no such parameter."}

    def to_internal_value(self, data: Any) -> Any:
        """A parameter that is given several times is a list if its field is one; of others the last one counts."""
        return super().to_internal_value(self.given(data))

    def given(self, data: Any) -> dict[str, Any]:
        """The values by the names of the fields."""
        lists = {name for name, field in self.fields.items() if isinstance(field, serializers.ListField)}
        # A view that has read the repeated parameters itself gives a dict.
        if not isinstance(data, QueryDict):
            return dict(data)
        return {name: data.getlist(name) if name in lists else value for name, value in data.items()}


@extend_schema_field(TAG_NAME)
class TagNameField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(trim_whitespace=False, validators=[validate_tag_name], **kwargs)


class TagNamesField(serializers.ListField):
    """The names of all tags that a device shall have."""

    child = TagNameField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=TAGS_OF_DEVICE_MAX, help_text=OF_DEVICE, **kwargs)


class TagFilterField(serializers.ListField):
    """The query parameter `tag`, which may be repeated."""

    child = TagNameField()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=TAGS_IN_FILTER_MAX, help_text=FILTER, **kwargs)


@extend_schema_field({"type": "array", "items": {"type": "string"}, "description": OF_DEVICE})
class NamesOfTagsField(serializers.Field[Any, Any, Any, Any]):
    """The tags of a device in an answer. Of many devices, `with_tags` on their queryset loads them together."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(source="*", read_only=True, **kwargs)

    def to_representation(self, device: Device) -> list[str]:
        tags: QuerySet[Tag] = device.tags.all()
        return [tag.name for tag in sorted(tags, key=lambda tag: tag.key)]


class PlaceSerializer(StrictSerializer):
    """Where a device is, what people should know of it, and its tags."""

    tags = TagNamesField()
    location = LocationField()
    latitude = DegreesField(most=90)
    longitude = DegreesField(most=180)
    notes = NotesField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: attrs.get(name, getattr(self.instance, name, None)) for name in ("latitude", "longitude")}
        if missing := [
            name for name, value in given.items() if value is None and any(v is not None for v in given.values())
        ]:
            detail = "A place has a latitude and a longitude, or neither."
            raise serializers.ValidationError({missing[0]: ErrorDetail(detail, code="coordinate_missing")})
        return attrs


class NewDeviceSerializer(PlaceSerializer):
    device_id = StrictCharField(max_length=64, trim_whitespace=False, validators=[validate_device_id])
    name = NameField()
    report_interval = ReportIntervalField()


class DeviceChangesSerializer(PlaceSerializer):
    name = NameField()
    is_active = StrictBooleanField(required=False)
    report_interval = ReportIntervalField()

    def update(self, instance: Device, validated_data: dict[str, Any]) -> Device:
        """Saves the fields whose value differs, and leaves their names in `changed` and their values in `before`.

        Leaves out the tags.
        """
        validated_data.pop("tags", None)
        self.changed = [name for name, value in validated_data.items() if getattr(instance, name) != value]
        self.before = {name: getattr(instance, name) for name in self.changed}
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


class DeviceFiltersSerializer(QuerySerializer):
    status = serializers.ChoiceField(choices=Status.choices, required=False)
    is_active = serializers.ChoiceField(choices=["true", "false"], required=False)
    search = SearchField(help_text="Part of the device id or the name.")
    tag = TagFilterField()
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100, help_text="Page size.")
    cursor = serializers.CharField(required=False, help_text="The cursor in `next` of the previous page.")


class DeviceSerializer(serializers.ModelSerializer[Device]):
    """`may_view_readings` in the context decides whether `latest` is shown; otherwise it is null.

    `is_device`: the notes, which are for people, are null.
    """

    last_seen_at = serializers.DateTimeField(source="state.last_seen_at", allow_null=True, read_only=True)
    last_seq = serializers.IntegerField(source="state.last_seq", read_only=True)
    status = serializers.ChoiceField(choices=Status.choices, read_only=True)
    tags = NamesOfTagsField()
    notes = serializers.SerializerMethodField()
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
            "tags",
            "location",
            "latitude",
            "longitude",
            "notes",
            "latest",
        ]
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "description": "For people: null if a device asks."})
    def get_notes(self, device: Device) -> str | None:
        return None if self.context.get("is_device") else device.notes

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

"""Input of the endpoints. It is strict: a wrong type, an unknown field or a contradiction is an error."""

from datetime import datetime, timedelta
from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail

from devices.api.fields import DeviceIdField
from devices.api.serializers import (
    StrictBooleanField,
    StrictIntegerField,
    StrictSerializer,
    TagFilterField,
    TagNameField,
)
from devices.models import Device, Tag
from devices.tags.names import distinct
from readings.alarms.api.fields import (
    AlarmCursorField,
    ChannelNameField,
    CommentField,
    MetricField,
    RuleNameField,
    RuleTextField,
    SecondsField,
    StrictMomentField,
    TargetField,
    ValueField,
)
from readings.alarms.delivery.muting import MUTE_MAX
from readings.alarms.models import Channel, ChannelKind, Kind, Rule, Severity
from readings.alarms.parameters import PARAMETER_NAMES, complete, contradictions
from readings.alarms.rules.scopes import devices_of, tags_of
from readings.history.parameters import WindowSerializer
from readings.windows import InvalidWindow, check_window

DEVICES_MAX = 1_000
CHANNELS_OF_RULE_MAX = 20
TAGS_OF_RULE_MAX = 10
REPEAT_LEAST = 60
LIMIT_DEFAULT = 100
LIMIT_MAX = 1_000
PREVIEW_WINDOW = timedelta(days=7)


# Lists of what a rule names, and their names in `validated_data`.
NAMED = {"devices": "device_ids", "tags": "tags", "channels": "channel_ids"}


class RuleSerializer(StrictSerializer):
    """A rule. `validated_data` has the fields of the model, and `device_ids`, `tags` and `channel_ids` where they were
    given.

    With an instance, fields that are not sent stay as they are.
    """

    name = RuleNameField()
    kind = serializers.ChoiceField(choices=Kind.choices)
    severity = serializers.ChoiceField(choices=Severity.choices, default=Severity.WARNING)
    metric = MetricField(help_text="The metric that is judged. A silence without one means silence of every metric.")
    above = ValueField(help_text="threshold: the alarm's bound; a value above it is beyond.")
    below = ValueField(help_text="threshold: the alarm's bound; a value below it is beyond.")
    clear_margin = ValueField(least=0, help_text="threshold: how far within the bounds a value ends an alarm.")
    clear_for = SecondsField(least=0, help_text="threshold, rate: seconds that the condition must have ended for.")
    seconds = SecondsField(
        help_text="silence: how long nothing was received (null: until the device counts as offline); stuck: how long "
        "the value has not changed."
    )
    tolerance = ValueField(least=0, help_text="stuck: a change by at most this much is none.")
    change = ValueField(least=0, help_text="rate: how far the value may change.")
    per = SecondsField(help_text="rate: the seconds within which it may change so far.")
    devices = serializers.ListField(
        child=DeviceIdField(),
        required=False,
        max_length=DEVICES_MAX,
        help_text="The ids of the devices that the rule applies to; empty: all devices.",
    )
    tags = serializers.ListField(
        child=TagNameField(),
        required=False,
        max_length=TAGS_OF_RULE_MAX,
        help_text="The rule applies to the devices that have all of these tags, as long as they have them. Empty: the "
        "devices in `devices`, or all.",
    )
    channels = serializers.ListField(
        child=StrictIntegerField(min_value=1, max_value=10**18 - 1),
        required=False,
        max_length=CHANNELS_OF_RULE_MAX,
        help_text="The ids of the channels that get its messages; empty: none.",
    )
    repeat = SecondsField(
        least=REPEAT_LEAST,
        help_text="After how many seconds an open alarm is sent again, until somebody acknowledges it; null: never.",
    )
    muted_until = StrictMomentField(
        required=False,
        allow_null=True,
        help_text="Until then, its alarms are recorded and nothing is sent. Relative times such as +2h are possible.",
    )
    text = RuleTextField()
    is_active = StrictBooleanField(required=False)

    def get_fields(self) -> dict[str, Any]:
        # `for` is a keyword of Python, so that it cannot be declared like the others.
        duration = SecondsField(least=0, help_text="threshold: how long the value must be beyond a bound.")
        return {**super().get_fields(), "for": duration}

    def validate_devices(self, device_ids: list[str]) -> list[str]:
        there = set(Device.objects.filter(device_id__in=device_ids).values_list("device_id", flat=True))
        if unknown := [device_id for device_id in device_ids if device_id not in there]:
            raise serializers.ValidationError(f"There is no device {unknown[0]!r}.", code="unknown_device")
        return sorted(there)

    def validate_tags(self, names: list[str]) -> list[str]:
        there = set(Tag.objects.named(names).values_list("key", flat=True))
        wanted = distinct(names)
        if unknown := [name for key, name in wanted.items() if key not in there]:
            raise serializers.ValidationError(f"There is no tag {unknown[0]!r}.", code="unknown_tag")
        return list(wanted.values())

    def validate_channels(self, channel_ids: list[int]) -> list[int]:
        there = set(Channel.objects.filter(pk__in=channel_ids).values_list("pk", flat=True))
        if unknown := [channel_id for channel_id in channel_ids if channel_id not in there]:
            raise serializers.ValidationError(f"There is no channel {unknown[0]}.", code="unknown_channel")
        return sorted(there)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        rule: Rule | None = self.instance
        kind = attrs.get("kind", rule.kind if rule else None)
        if rule and kind != rule.kind:
            detail = ErrorDetail("The kind of a rule cannot be changed. Create another rule.", code="kind_fixed")
            raise serializers.ValidationError({"kind": detail})
        given = {name: getattr(rule, field) for name, field in PARAMETER_NAMES.items()} if rule else {}
        if rule:
            given["metric"] = rule.metric or None
        given |= {name: value for name, value in attrs.items() if name in PARAMETER_NAMES}
        if found := contradictions(str(kind), given):
            raise serializers.ValidationError({c.field: ErrorDetail(c.detail, code=c.code) for c in found})
        self.refuse_devices_and_tags(attrs)
        fields = {name: value for name, value in attrs.items() if name not in PARAMETER_NAMES}
        named = {ids: fields.pop(name) for name, ids in NAMED.items() if name in fields}
        return fields | complete(str(kind), given) | named

    def refuse_devices_and_tags(self, attrs: dict[str, Any]) -> None:
        rule: Rule | None = self.instance
        devices = attrs["devices"] if "devices" in attrs else devices_of(rule) if rule else []
        tags = attrs["tags"] if "tags" in attrs else tags_of(rule) if rule else []
        if devices and tags:
            other, field = ("devices", "tags") if "tags" in attrs else ("tags", "devices")
            detail = f'A rule names devices or tags, not both. Send "{other}": [] too.'
            raise serializers.ValidationError({field: ErrorDetail(detail, code="devices_and_tags")})


class PreviewedRuleSerializer(RuleSerializer):
    """A rule that need not have a name yet."""

    name = RuleNameField(required=False)


class PreviewSerializer(StrictSerializer):
    """The rule to preview, and the window `[start, end)`; by default the last 7 days."""

    rule = PreviewedRuleSerializer()
    start = StrictMomentField(required=False, help_text="Start of the window. Default: 7 days before `end`.")
    end = StrictMomentField(required=False, help_text="End of the window. Default: now.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        end = attrs.get("end", self.context["now"])
        window = {"start": attrs.get("start", end - PREVIEW_WINDOW), "end": end}
        try:
            check_window(**window)
        except InvalidWindow as error:
            raise serializers.ValidationError({"end": ErrorDetail(str(error), code="empty_window")}) from error
        return attrs | window


class MuteSerializer(StrictSerializer):
    until = StrictMomentField(help_text="When the mute ends: within 366 days. Relative times such as +2h are possible.")

    def validate_until(self, until: datetime) -> datetime:
        now: datetime = self.context["now"]
        if until <= now:
            raise serializers.ValidationError("This time has passed.", code="in_the_past")
        if until - now > MUTE_MAX:
            raise serializers.ValidationError(f"A mute ends within {MUTE_MAX.days} days.", code="too_far")
        return until


class AcknowledgementSerializer(StrictSerializer):
    comment = CommentField()


class ChannelSerializer(StrictSerializer):
    name = ChannelNameField()
    kind = serializers.ChoiceField(choices=ChannelKind.choices)
    target = TargetField(
        help_text="email: an e-mail address; webhook: an http or https address; apprise: an Apprise URL. The latter "
        "two may contain tokens and are not shown again."
    )


class ChannelChangesSerializer(StrictSerializer):
    name = ChannelNameField()
    kind = serializers.ChoiceField(choices=ChannelKind.choices)
    target = TargetField()
    new_secret = StrictBooleanField(
        required=False, help_text="webhook: replace the secret. The answer has the new one; the old one ends at once."
    )

    def of_kind(self) -> str:
        assert isinstance(self.instance, Channel)
        return self.instance.kind

    def validate_kind(self, kind: str) -> str:
        if kind != self.of_kind():
            detail = "The kind of a channel cannot be changed. Create another channel."
            raise serializers.ValidationError(detail, code="kind_fixed")
        return kind

    def validate_new_secret(self, new: bool) -> bool:
        if new and self.of_kind() != ChannelKind.WEBHOOK:
            raise serializers.ValidationError("Only a webhook has a secret.", code="no_secret")
        return new


class DeviceAlarmsQuery(WindowSerializer):
    """The query parameters of a device's alarms. The window is of `opened_at`."""

    metrics = None  # type: ignore[assignment]  # removes the inherited field, as DRF documents
    state = serializers.ChoiceField(["open", "resolved", "all"], default="open")
    rule = serializers.IntegerField(
        required=False, min_value=1, max_value=10**18 - 1, help_text="Only alarms of the rule with this id."
    )
    severity = serializers.ChoiceField(Severity.choices, required=False)
    limit = serializers.IntegerField(default=LIMIT_DEFAULT, min_value=1, max_value=LIMIT_MAX, help_text="Page size.")
    cursor = AlarmCursorField(required=False, help_text="The cursor in `next` of the previous page.")


class AlarmsQuery(DeviceAlarmsQuery):
    device_id = serializers.CharField(required=False, max_length=64, help_text="Only alarms of this device.")
    tag = TagFilterField()

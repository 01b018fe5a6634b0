"""Fields of the serializers of rules, and of the query parameters of alarms."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.api.fields import FiniteField
from devices.api.serializers import StrictCharField, StrictIntegerField
from devices.metrics import METRIC_NAME, RESERVED, is_metric_name
from readings.alarms.models import COMMENT_LENGTH, NAME_LENGTH, TEXT_LENGTH
from readings.alarms.outbox_models import CHANNEL_NAME_LENGTH, TARGET_LENGTH
from readings.history.parameters import MomentField
from readings.windows import EARLIEST, LATEST

SECONDS_MAX = 31 * 86_400


class SecondsField(StrictIntegerField):
    """A duration in whole seconds; null: the default, or the kind does not have it."""

    def __init__(self, *, least: int = 1, **kwargs: Any) -> None:
        super().__init__(min_value=least, max_value=SECONDS_MAX, required=False, allow_null=True, **kwargs)


class ValueField(FiniteField):
    """A finite number of at most ±1e300; null: the default, or the kind does not have it."""


@extend_schema_field({"type": "string", "pattern": f"^{METRIC_NAME.pattern}$"})
class MetricField(StrictCharField):
    """The name of a metric; null: the kind does not need one."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, allow_null=True, trim_whitespace=False, **kwargs)

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if name in RESERVED:
            raise serializers.ValidationError(f"{name!r} is not the name of a metric.", code="reserved_name")
        if not is_metric_name(name):
            raise serializers.ValidationError(f"{name[:80]!r} is not a metric name.", code="invalid_name")
        return name


def any_text(length: int, *, least: int = 0) -> dict[str, Any]:
    """The schema of a text of `least` to `length` characters. The database accepts any character but NUL."""
    return {"type": "string", "minLength": least, "maxLength": length, "pattern": r"^[^\u0000]*$"}


@extend_schema_field(any_text(NAME_LENGTH, least=1))
class RuleNameField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=NAME_LENGTH, trim_whitespace=False, **kwargs)


@extend_schema_field(any_text(TEXT_LENGTH))
class RuleTextField(StrictCharField):
    """For people: what to do."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=TEXT_LENGTH, required=False, allow_blank=True, trim_whitespace=False, **kwargs)


@extend_schema_field(any_text(CHANNEL_NAME_LENGTH, least=1))
class ChannelNameField(StrictCharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=CHANNEL_NAME_LENGTH, trim_whitespace=False, **kwargs)


@extend_schema_field(any_text(TARGET_LENGTH, least=1))
class TargetField(StrictCharField):
    """Where a channel sends to."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=TARGET_LENGTH, **kwargs)


@extend_schema_field(any_text(COMMENT_LENGTH))
class CommentField(StrictCharField):
    """For people who look at the alarm later."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=COMMENT_LENGTH, required=False, allow_blank=True, trim_whitespace=False, **kwargs)


class StrictMomentField(MomentField):
    """A time in a document, always a text."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class AlarmCursorField(serializers.CharField):
    """The position of the last alarm of the previous page, `(opened_at, id)`; opaque to clients.

    Only the exact form that `encode` returns is accepted.
    """

    def to_internal_value(self, data: Any) -> Any:
        try:
            opened_at, _, identifier = base64.urlsafe_b64decode(str(data).encode()).decode().partition(" ")
            position = datetime.fromisoformat(opened_at), UUID(identifier)
            if position[0].tzinfo is not UTC or self.encode(*position) != data:
                raise ValueError
            if not EARLIEST <= position[0] <= LATEST:
                raise ValueError
        except (TypeError, ValueError, binascii.Error) as error:
            raise serializers.ValidationError("This cursor is not valid.", code="invalid_cursor") from error
        return position

    @staticmethod
    def encode(opened_at: datetime, pk: UUID) -> str:
        return base64.urlsafe_b64encode(f"{opened_at.isoformat()} {pk}".encode()).decode()

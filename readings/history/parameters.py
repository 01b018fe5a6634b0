"""Parses the query parameters of `history` and `aggregate`."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from devices.api.fields import DeviceIdField
from devices.api.serializers import QuerySerializer, TagFilterField
from devices.metrics import EXTRA_METRICS_MAX, is_metric_name
from readings.statistics.aggregation import AGGREGATE_VALUES_MAX
from readings.statistics.buckets import BUCKETS_MAX, POINTS_DEFAULT, InvalidBucket, parse_bucket
from readings.windows import EARLIEST, FORMS, LATEST, InvalidMoment, InvalidWindow, check_window, parse_moment

LIMIT_DEFAULT = 100
LIMIT_MAX = 10_000
# In one answer.
DEVICES_MAX = 100
METRICS_PATTERN = "^[a-z][a-z0-9_]{0,62}(,[a-z][a-z0-9_]{0,62})*$"
BUCKET_PATTERN = "^(auto|[1-9][0-9]{0,6}[smhd])$"
# 2001-01-01 to the end of 2100 in seconds, and the same in milliseconds.
UNIX_HUNDREDS = (
    "(9783072|978307[3-9]|97830[89][0-9]|9783[1-9][0-9]{2}|978[4-9][0-9]{3}|979[0-9]{4}|9[89][0-9]{5}|"
    "[1-3][0-9]{7}|40[0-9]{6}|41[0-2][0-9]{5}|413[0-2][0-9]{4}|4133[0-8][0-9]{3}|41339[0-7][0-9]{2}|4133980[0-7])"
)
UNIX_PATTERN = rf"^{UNIX_HUNDREDS}[0-9]{{2}}([0-9]{{3}})?(\.[0-9]{{1,9}})?$"
RELATIVE_PATTERN = "^(now|(now)?[+-][0-9]{1,9}[smhdw])$"
ALIASES = {"from": "start", "to": "end"}


@extend_schema_field(
    {
        "type": "string",
        "anyOf": [{"format": "date-time"}, {"pattern": UNIX_PATTERN}, {"pattern": RELATIVE_PATTERN}],
    }
)
class MomentField(serializers.CharField):
    """A point in time; relative times count from `now` in the serializer's context."""

    def to_internal_value(self, data: Any) -> Any:
        try:
            return parse_moment(str(data), now=self.context["now"])
        except InvalidMoment as error:
            raise serializers.ValidationError(str(error), code="invalid_time") from error


@extend_schema_field({"type": "string", "pattern": METRICS_PATTERN})
class MetricsField(serializers.CharField):
    """A comma-separated list of metric names."""

    def to_internal_value(self, data: Any) -> Any:
        names = list(dict.fromkeys(name.strip() for name in str(data).split(",")))
        if wrong := [name for name in names if not is_metric_name(name)]:
            raise serializers.ValidationError(f"{wrong[0][:80]!r} is not a metric name.", code="invalid_name")
        if len(names) > EXTRA_METRICS_MAX + 3:
            raise serializers.ValidationError(
                "These are more metrics than a reading can have.", code="too_many_metrics"
            )
        return names


class TimeZoneField(serializers.CharField):
    """A name of the IANA time zone database; becomes a ZoneInfo."""

    def to_internal_value(self, data: Any) -> Any:
        if data not in time_zones():
            raise serializers.ValidationError("Write a time zone name such as Europe/Berlin.", code="invalid_time_zone")
        return ZoneInfo(str(data))


@extend_schema_field({"type": "string", "pattern": BUCKET_PATTERN})
class BucketField(serializers.CharField):
    """The name of a bucket; `AggregateQuery` converts it to a `readings.statistics.buckets.Bucket`."""


class CursorField(serializers.CharField):
    """The position of the last reading of the previous page, `(timestamp, seq)`; opaque to clients.

    Only the exact form that `encode` returns, in UTC, is accepted, because PostgreSQL accepts fewer time zones than
    Python, for example.
    """

    def to_internal_value(self, data: Any) -> Any:
        try:
            timestamp, _, seq = base64.urlsafe_b64decode(str(data).encode()).decode().partition(" ")
            position = datetime.fromisoformat(timestamp), int(seq)
            if position[0].tzinfo is not UTC or self.encode(*position) != data:
                raise ValueError
            if not (EARLIEST <= position[0] <= LATEST and 0 < position[1] < 1 << 63):
                raise ValueError
        except (TypeError, ValueError, binascii.Error) as error:
            raise serializers.ValidationError("This cursor is not valid.", code="invalid_cursor") from error
        return position

    @staticmethod
    def encode(timestamp: datetime, seq: int) -> str:
        return base64.urlsafe_b64encode(f"{timestamp.isoformat()} {seq}".encode()).decode()


@cache
def time_zones() -> frozenset[str]:
    return frozenset(available_timezones())


class WindowSerializer(QuerySerializer):
    """`start` and `end` with the aliases `from` and `to`."""

    start = MomentField(required=False, help_text=f"Start of the window (inclusive): {FORMS}. Alias: `from`.")
    end = MomentField(required=False, help_text="End of the window (exclusive), in the forms of `start`. Alias: `to`.")
    metrics = MetricsField(required=False, help_text="Comma-separated list of metrics. Default: all.")

    def given(self, data: Any) -> dict[str, Any]:
        return {ALIASES.get(name, name): value for name, value in super().given(data).items()}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            check_window(attrs.get("start"), attrs.get("end"))
        except InvalidWindow as error:
            raise serializers.ValidationError(
                {"end": serializers.ErrorDetail(str(error), code="empty_window")}
            ) from error
        return attrs


class HistoryQuery(WindowSerializer):
    limit = serializers.IntegerField(default=LIMIT_DEFAULT, min_value=1, max_value=LIMIT_MAX, help_text="Page size.")
    order = serializers.ChoiceField(["desc", "asc"], default="desc", help_text="`desc`: newest first.")
    cursor = CursorField(required=False, help_text="The cursor in `next` of the previous page.")
    format = serializers.ChoiceField(["json", "csv"], required=False, help_text="`csv` streams the whole window.")
    time = serializers.ChoiceField(
        ["utc", "local"],
        default="utc",
        help_text="In CSV only. `local`: for spreadsheets, the time in the time zone `tz`, without an offset and in "
        "milliseconds, such as `2026-05-09 14:00:00.500`.",
    )
    tz = TimeZoneField(required=False, help_text="Time zone of `time=local`. Default: UTC.")
    shape = serializers.ChoiceField(
        ["wide", "long"],
        default="wide",
        help_text="In CSV only. `wide`: a line for each reading; `long`: a line for each value.",
    )
    headers = serializers.ChoiceField(
        ["names", "labels"],
        default="names",
        help_text="In CSV only. `labels`: columns of metrics are headed `temperature (°C)`, as in the catalogue.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "tz" in attrs and attrs["time"] != "local":
            detail = serializers.ErrorDetail("A time zone needs time=local.", code="needs_local_time")
            raise serializers.ValidationError({"tz": detail})
        return super().validate({"tz": ZoneInfo("UTC")} | attrs)


class ExportQuery(HistoryQuery):
    """The parameters of the export of several devices, which has no pages."""

    limit = cursor = None  # type: ignore[assignment]  # removes the inherited fields, as DRF documents
    format = serializers.ChoiceField(["csv"], default="csv", help_text="The only format for several devices.")


class AggregateQuery(WindowSerializer):
    """The default window is the last 24 hours; `bucket` becomes a `readings.statistics.buckets.Bucket`.

    With `auto`, buckets are at least 1h if the window starts before `raw_from` of the context, and so large that an
    answer stays within its limit: with the requested metrics of each of the context's `devices`, or without `metrics`
    with `metric_count` of the context.
    """

    bucket = BucketField(required=False, help_text="`30s 5m 1h 1d 7d`, or `auto`.")
    points = serializers.IntegerField(
        default=POINTS_DEFAULT, min_value=1, max_value=BUCKETS_MAX, help_text="Maximum number of buckets with `auto`."
    )
    tz = TimeZoneField(required=False, help_text="Time zone of day-sized buckets, and of `time=local`. Default: UTC.")
    fill = serializers.ChoiceField(["null"], required=False, help_text="`null`: also return empty buckets.")
    format = serializers.ChoiceField(
        ["json", "csv"], required=False, help_text="`csv`: a line for each bucket and metric."
    )
    time = serializers.ChoiceField(
        ["utc", "local"],
        default="utc",
        help_text="In CSV only. `local`: as at `history`, in the time zone `tz`.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        now = self.context["now"]
        attrs = super().validate({"start": now - timedelta(hours=24), "end": now, "tz": ZoneInfo("UTC")} | attrs)
        if "bucket" in attrs:
            try:
                raw_from = self.context["raw_from"]
                devices, count = self.context["devices"], self.context["metric_count"]
                metrics = len(attrs["metrics"]) * devices if "metrics" in attrs else count
                attrs["bucket"] = parse_bucket(
                    attrs["bucket"],
                    start=attrs["start"],
                    end=attrs["end"],
                    points=max(1, min(attrs["points"], AGGREGATE_VALUES_MAX // max(1, metrics))),
                    tz=attrs["tz"],
                    whole_hours=raw_from is not None and attrs["start"] < raw_from,
                )
            except InvalidBucket as error:
                detail = serializers.ErrorDetail(str(error), code="invalid_bucket")
                raise serializers.ValidationError({"bucket": detail}) from error
        return attrs


def parsed(
    query: type[WindowSerializer],
    parameters: Any,
    *,
    raw_from: datetime | None = None,
    metric_count: int = 0,
    devices: int = 1,
) -> dict[str, Any]:
    """The validated parameters. Raises ValidationError, a 422.

    `raw_from`: retention deleted readings of a device before this time. `metric_count`: the number of metrics of all
    devices together. `devices`: their number.
    """
    context = {"now": timezone.now(), "raw_from": raw_from, "metric_count": metric_count, "devices": devices}
    serializer = query(data=parameters, context=context)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


class DevicesQuery(QuerySerializer):
    """Which devices: those with one of the ids, and those that have all of the tags."""

    device_id = serializers.ListField(
        child=DeviceIdField(),
        required=False,
        max_length=DEVICES_MAX,
        help_text=f"The id of a device. Repeat it for several; at most {DEVICES_MAX} devices, those of `tag` included.",
    )
    tag = TagFilterField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs.get("device_id") and not attrs.get("tag"):
            text = "Name devices: device_id=…, once for each, or tag=… for all devices that have it."
            raise serializers.ValidationError({"device_id": serializers.ErrorDetail(text, code="no_devices")})
        return attrs

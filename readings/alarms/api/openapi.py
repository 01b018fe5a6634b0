"""OpenAPI schemas of the endpoints of alarms."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from devices.api.openapi import COUNT, DATE_TIME, JSON, STRING, Schema, array, nullable, record
from readings.alarms.api.serializers import (
    AcknowledgementSerializer,
    AlarmsQuery,
    ChannelChangesSerializer,
    ChannelSerializer,
    DeviceAlarmsQuery,
    MuteSerializer,
    PreviewSerializer,
    RuleSerializer,
)
from readings.alarms.models import ChannelKind, Kind, Reason, Severity

NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
SECONDS_OR_NULL: Schema = {"type": ["integer", "null"], "minimum": 0}
STRING_OR_NULL: Schema = {"type": ["string", "null"]}
TIME_OR_NULL = nullable(DATE_TIME)
RULE_ID: Schema = {"type": "integer", "minimum": 1}
CHANNEL_ID: Schema = {"type": "integer", "minimum": 1}
KIND: Schema = {"type": "string", "enum": Kind.values}
SEVERITY: Schema = {"type": "string", "enum": Severity.values}
STATE: Schema = {"type": "string", "enum": ["open", "resolved"]}

ALARM = record(
    {
        "id": {"type": "string", "format": "uuid"},
        "rule": record({"id": RULE_ID, "name": STRING, "kind": KIND, "severity": SEVERITY}),
        "device_id": STRING,
        "device_name": STRING,
        "metric": STRING_OR_NULL,
        "state": STATE,
        "began_at": DATE_TIME | {"description": "When the condition began to hold."},
        "opened_at": DATE_TIME | {"description": "When it had held long enough."},
        "noticed_at": DATE_TIME | {"description": "When the server noticed it."},
        "value": NUMBER_OR_NULL | {"description": "The value that opened the alarm."},
        "worst": NUMBER_OR_NULL | {"description": "The value farthest beyond the bound."},
        "resolved_at": TIME_OR_NULL,
        "reason": {"type": ["string", "null"], "enum": [*Reason.values, None]},
        "late": {"type": "boolean", "description": "It was noticed more than 60 s after it opened."},
        "acknowledged_at": TIME_OR_NULL,
        "acknowledged_by": STRING_OR_NULL,
        "comment": STRING_OR_NULL,
    }
)
ALARMS = record(
    {
        "results": array(ALARM),
        "next": {"type": ["string", "null"], "description": "The URL of the next page; null on the last page."},
    }
)
RULE = record(
    {
        "id": RULE_ID,
        "name": STRING,
        "kind": KIND,
        "severity": SEVERITY,
        "metric": STRING_OR_NULL,
        "above": NUMBER_OR_NULL,
        "below": NUMBER_OR_NULL,
        "for": SECONDS_OR_NULL,
        "clear_margin": NUMBER_OR_NULL,
        "clear_for": SECONDS_OR_NULL,
        "seconds": SECONDS_OR_NULL,
        "tolerance": NUMBER_OR_NULL,
        "change": NUMBER_OR_NULL,
        "per": SECONDS_OR_NULL,
        "devices": array(STRING),
        "tags": array(STRING),
        "channels": array(CHANNEL_ID),
        "repeat": SECONDS_OR_NULL,
        "muted_until": TIME_OR_NULL,
        "text": STRING,
        "is_active": {"type": "boolean"},
        "created_at": DATE_TIME,
    }
)
RULES = record({"results": array(RULE), "next": {"type": "null"}})
CHANNEL_FIELDS: dict[str, Schema] = {
    "id": CHANNEL_ID,
    "name": STRING,
    "kind": {"type": "string", "enum": ChannelKind.values},
    "target": STRING | {"description": "Without tokens: of an URL only the beginning."},
    "created_at": DATE_TIME,
}
CHANNEL = record(CHANNEL_FIELDS)
CHANNEL_WITH_SECRET = record(
    CHANNEL_FIELDS | {"secret": STRING_OR_NULL | {"description": "Of a webhook, when it is new. Shown once."}}
)
CHANNELS = record({"results": array(CHANNEL), "next": {"type": "null"}})
MUTE = record({"muted_until": TIME_OR_NULL})
PREVIEW = record(
    {
        "devices": COUNT | {"description": "How many devices were looked at."},
        "alarms": array(
            record(
                {
                    "device_id": STRING,
                    "metric": STRING_OR_NULL,
                    "state": STATE,
                    "began_at": DATE_TIME,
                    "opened_at": DATE_TIME,
                    "value": NUMBER_OR_NULL,
                    "worst": NUMBER_OR_NULL,
                    "resolved_at": TIME_OR_NULL,
                }
            )
        ),
        "truncated": {"type": "boolean", "description": "A bound was reached; there may be more alarms."},
    }
)

ALARM_PATH = OpenApiParameter("alarm_id", OpenApiTypes.UUID, OpenApiParameter.PATH)
RULE_PATH = OpenApiParameter("rule_id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)
CHANNEL_PATH = OpenApiParameter("channel_id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)

alarm_list = extend_schema(
    operation_id="alarm_list", summary="List alarms", parameters=[AlarmsQuery], responses={(200, JSON): ALARMS}
)
device_alarms = extend_schema(
    operation_id="device_alarms",
    summary="The alarms of a device",
    parameters=[DeviceAlarmsQuery],
    responses={(200, JSON): ALARMS},
)
acknowledge = extend_schema(
    operation_id="alarm_acknowledge",
    summary="Acknowledge an alarm",
    parameters=[ALARM_PATH],
    request=AcknowledgementSerializer,
    responses={(200, JSON): ALARM},
)
rule_list = extend_schema(operation_id="alarm_rule_list", summary="List rules", responses={(200, JSON): RULES})
rule_create = extend_schema(
    operation_id="alarm_rule_create", summary="Create a rule", request=RuleSerializer, responses={(201, JSON): RULE}
)
rule = extend_schema(
    operation_id="alarm_rule", summary="Look up a rule", parameters=[RULE_PATH], responses={(200, JSON): RULE}
)
rule_change = extend_schema(
    operation_id="alarm_rule_change",
    summary="Change a rule",
    parameters=[RULE_PATH],
    request=RuleSerializer,
    responses={(200, JSON): RULE},
)
rule_delete = extend_schema(
    operation_id="alarm_rule_delete", summary="Delete a rule", parameters=[RULE_PATH], responses={204: None}
)
preview = extend_schema(
    operation_id="alarm_rule_preview",
    summary="What a rule would have done",
    request=PreviewSerializer,
    responses={(200, JSON): PREVIEW},
)

rule_mute = extend_schema(
    operation_id="alarm_rule_mute",
    summary="Mute a rule",
    parameters=[RULE_PATH],
    request=MuteSerializer,
    responses={(200, JSON): MUTE},
)
rule_unmute = extend_schema(
    operation_id="alarm_rule_unmute", summary="End the mute of a rule", parameters=[RULE_PATH], responses={204: None}
)
channel_list = extend_schema(operation_id="channel_list", summary="List channels", responses={(200, JSON): CHANNELS})
channel_create = extend_schema(
    operation_id="channel_create",
    summary="Create a channel",
    request=ChannelSerializer,
    responses={(201, JSON): CHANNEL_WITH_SECRET},
)
channel_change = extend_schema(
    operation_id="channel_change",
    summary="Change a channel",
    parameters=[CHANNEL_PATH],
    request=ChannelChangesSerializer,
    responses={(200, JSON): CHANNEL_WITH_SECRET},
)
channel_delete = extend_schema(
    operation_id="channel_delete",
    summary="Delete a channel",
    parameters=[CHANNEL_PATH],
    responses={(200, JSON): record({"dropped": COUNT | {"description": "Messages that were still to be sent."}})},
)
channel_test = extend_schema(
    operation_id="channel_test",
    summary="Send a test message",
    parameters=[CHANNEL_PATH],
    request=None,
    responses={
        (200, JSON): record(
            {
                "delivered": {"type": "boolean"},
                "detail": STRING | {"description": "What happened, for people."},
                "answer": STRING_OR_NULL | {"description": "Of a webhook, the beginning of the receiver's answer."},
            }
        )
    },
)
device_mute = extend_schema(
    operation_id="device_mute", summary="Until when a device is muted", responses={(200, JSON): MUTE}
)
device_mute_set = extend_schema(
    operation_id="device_mute_set", summary="Mute a device", request=MuteSerializer, responses={(200, JSON): MUTE}
)
tag_mute = extend_schema(operation_id="tag_mute", summary="Until when a tag is muted", responses={(200, JSON): MUTE})
tag_mute_set = extend_schema(
    operation_id="tag_mute_set", summary="Mute a tag", request=MuteSerializer, responses={(200, JSON): MUTE}
)
tag_mute_end = extend_schema(operation_id="tag_mute_end", summary="End the mute of a tag", responses={204: None})
device_mute_end = extend_schema(
    operation_id="device_mute_end", summary="End the mute of a device", responses={204: None}
)

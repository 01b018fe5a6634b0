"""Alarms and rules as the API returns them."""

from datetime import datetime
from typing import Any

from devices.times import rfc3339
from readings.alarms.models import Alarm, Rule
from readings.alarms.parameters import PARAMETER_NAMES


def alarm_document(alarm: Alarm) -> dict[str, Any]:
    """The alarm, whose rule and device must be loaded, as the API returns it."""
    rule = alarm.rule
    return {
        "id": alarm.id,
        "rule": {"id": rule.pk, "name": rule.name, "kind": rule.kind, "severity": rule.severity},
        "device_id": alarm.device_id,
        "device_name": alarm.device.name,
        "metric": alarm.metric or None,
        "state": "open" if alarm.is_open else "resolved",
        "began_at": rfc3339(alarm.began_at),
        "opened_at": rfc3339(alarm.opened_at),
        "noticed_at": rfc3339(alarm.noticed_at),
        "value": alarm.value,
        "worst": alarm.worst,
        "resolved_at": time_or_none(alarm.resolved_at),
        "reason": alarm.reason or None,
        "late": alarm.late,
        "acknowledged_at": time_or_none(alarm.acknowledged_at),
        "acknowledged_by": alarm.acknowledged_by or None,
        "comment": alarm.comment or None,
    }


def rule_document(rule: Rule, device_ids: list[str], channel_ids: list[int], tag_names: list[str]) -> dict[str, Any]:
    """The rule as the API returns it. `device_ids`, `channel_ids`, `tag_names`: what it names, in their order."""
    parameters = {api_name: getattr(rule, name) for api_name, name in PARAMETER_NAMES.items()}
    return {
        "id": rule.pk,
        "name": rule.name,
        "kind": rule.kind,
        "severity": rule.severity,
        **parameters,
        "metric": rule.metric or None,
        "devices": device_ids,
        "tags": tag_names,
        "channels": channel_ids,
        "repeat": rule.repeat,
        "muted_until": time_or_none(rule.muted_until),
        "text": rule.text,
        "is_active": rule.is_active,
        "created_at": rfc3339(rule.created_at),
    }


def time_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)

"""What a message says: as JSON for webhooks, and as a title and a text for people. Times are in UTC."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from django.conf import settings

from devices.metrics import Catalogue, shown
from devices.plurals import counted
from devices.times import rfc3339
from readings.alarms.documents import time_or_none
from readings.alarms.models import Alarm, Kind, MessageType, Rule, Severity

# Alarms in the JSON of a message, and devices named in its text.
ALARMS_MAX = 100
NAMED_MAX = 10
# Apprise's kinds of a message, which some services show as a colour.
APPRISE_KINDS: dict[str, str] = {Severity.INFO: "info", Severity.WARNING: "warning", Severity.CRITICAL: "failure"}


class Content(msgspec.Struct, frozen=True):
    """A released message. `alarms`: the first ALARMS_MAX of its `count` alarms, whose devices are loaded.

    `tags`: the names of the rule's tags. `catalogue`: describes the rule's metric.
    """

    id: UUID
    type: str
    at: datetime
    rule: Rule
    count: int
    alarms: Sequence[Alarm]
    tags: Sequence[str]
    catalogue: Catalogue


def json_of(content: Content) -> dict[str, Any]:
    """The JSON body of a webhook, without the parts that change from one try to the next."""
    rule = content.rule
    return {
        "type": content.type,
        "timestamp": rfc3339(content.at),
        "data": {
            "rule": {
                "id": rule.pk,
                "name": rule.name,
                "kind": rule.kind,
                "severity": rule.severity,
                "text": rule.text,
            },
            "summary": summary_of(content),
            "count": content.count,
            "alarms": [alarm_of(alarm, content) for alarm in content.alarms],
            "url": f"{settings.PUBLIC_URL}/alarms/?rule={rule.pk}" if settings.PUBLIC_URL else None,
        },
    }


def alarm_of(alarm: Alarm, content: Content) -> dict[str, Any]:
    """As it was when the message was released: an alarm that has opened is open, although it may have ended since."""
    ended = content.type == MessageType.RESOLVED
    return {
        "id": str(alarm.id),
        "device_id": alarm.device_id,
        "name": alarm.device.name,
        "began_at": rfc3339(alarm.began_at),
        "opened_at": rfc3339(alarm.opened_at),
        "resolved_at": time_or_none(alarm.resolved_at) if ended else None,
        "reason": (alarm.reason or None) if ended else None,
        "metric": alarm.metric or None,
        "value": alarm.value,
        "late": alarm.late,
    }


def title_of(content: Content) -> str:
    """One line, such as "Critical: Freezer too warm"."""
    match content.type:
        case MessageType.RESOLVED:
            return f"Resolved: {content.rule.name}"
        case MessageType.REPEATED:
            return f"Still {content.rule.severity}: {content.rule.name}"
    return f"{content.rule.get_severity_display()}: {content.rule.name}"


def summary_of(content: Content) -> str:
    """One sentence, such as "19 devices are silent since 02:10 UTC"."""
    if not content.alarms:
        return ""
    alarm = content.alarms[0]
    one = content.count == 1
    tagged = f" tagged {' and '.join(content.tags)}" if content.tags else ""
    who = named(alarm) if one else f"{content.count:,} devices{tagged}"
    since = moment(min(alarm.began_at for alarm in content.alarms), content.at)
    if content.type == MessageType.RESOLVED:
        return resolved_summary(content, who, since)
    verb = "is" if one else "are"
    still = " still" if content.type == MessageType.REPEATED else ""
    if content.rule.kind == Kind.SILENCE and not content.rule.metric:
        return f"{who} {verb}{still} silent since {since}"
    value = value_of(alarm, content) if one else ""
    return f"{who}:{still} {condition_of(content.rule, content.catalogue)}{value} since {since}"


def resolved_summary(content: Content, who: str, since: str) -> str:
    ends = [alarm.resolved_at for alarm in content.alarms if alarm.resolved_at is not None]
    until = f" until {moment(max(ends), content.at)}" if ends else ""
    if content.count == 1:
        return f"{who}: resolved, was open from {since}{until}"
    return f"{content.count:,} alarms are resolved, open from {since}{until}"


def condition_of(rule: Rule, catalogue: Catalogue) -> str:
    """What holds of the devices while the alarm is open, such as "temperature above 30 °C"."""
    metric, unit = catalogue.label(rule.metric), catalogue.of(rule.metric).unit
    match rule.kind:
        case Kind.SILENCE:
            return f"no {metric}"
        case Kind.STUCK:
            return f"{metric} does not change"
        case Kind.RATE:
            return f"{metric} changes by more than {bound(rule.change, unit)} in {duration(rule.per or 0)}"
    if rule.above is not None and rule.below is not None:
        return f"{metric} outside {bound(rule.below)} to {bound(rule.above, unit)}"
    side, limit = ("above", rule.above) if rule.above is not None else ("below", rule.below)
    return f"{metric} {side} {bound(limit, unit)}"


def text_of(content: Content) -> str:
    """The text of an e-mail or a chat message: the sentence, the first NAMED_MAX devices, what to do, and the link."""
    parts = [summary_of(content)]
    if content.count > 1:
        lines = [line_of(alarm, content) for alarm in content.alarms[:NAMED_MAX]]
        if (more := content.count - len(lines)) > 0:
            lines.append(f"and {more:,} more")
        parts.append("\n".join(lines))
    if content.rule.text and content.type != MessageType.RESOLVED:
        parts.append(content.rule.text)
    if settings.PUBLIC_URL:
        parts.append(f"{settings.PUBLIC_URL}/alarms/?rule={content.rule.pk}")
    return "\n\n".join(parts)


def line_of(alarm: Alarm, content: Content) -> str:
    value = value_of(alarm, content)
    ended = content.type == MessageType.RESOLVED and alarm.resolved_at is not None
    until = f" until {moment(alarm.resolved_at, content.at)}" if ended and alarm.resolved_at else ""
    return f"- {named(alarm)}{value}: since {moment(alarm.began_at, content.at)}{until}"


def named(alarm: Alarm) -> str:
    name = alarm.device.name
    return f"{name} ({alarm.device_id})" if name else alarm.device_id


def moment(at: datetime, of: datetime) -> str:
    """A time of day; with the date if it is not the day of the message."""
    return f"{at:%H:%M} UTC" if at.date() == of.date() else f"{at:%Y-%m-%d %H:%M} UTC"


def value_of(alarm: Alarm, content: Content) -> str:
    """ " (31.5 °C)"; empty for a silence."""
    return "" if alarm.value is None else f" ({content.catalogue.text(alarm.metric, alarm.value)})"


def bound(value: float | None, unit: str = "") -> str:
    """A parameter of a rule, with the decimals that it has."""
    return "" if value is None else f"{shown(value)} {unit}".rstrip()


def duration(seconds: int) -> str:
    """In the largest unit without a fraction: "10 min", "1 day"."""
    for one, many, length in (("day", "days", 86_400), ("h", "h", 3_600), ("min", "min", 60)):
        if seconds and seconds % length == 0:
            return counted(seconds // length, one, many)
    return f"{seconds} s"

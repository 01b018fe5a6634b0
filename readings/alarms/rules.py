"""Creates, changes and deletes rules, together with what that means for their states and open alarms.

Each change raises the version of the `RuleSet` in its transaction, so that it waits for a step of the evaluation that
is being stored, and the next step sees it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection, transaction
from django.db.models import F

from devices.changes import Author, log_added, log_changed, log_deleted, values_of
from devices.models import Tag
from readings.alarms.conditions.states import OpenAlarm, State
from readings.alarms.conditions.threshold import Threshold
from readings.alarms.delivery.gathering import Notices
from readings.alarms.delivery.outbox import drop
from readings.alarms.models import (
    Alarm,
    Channel,
    EvaluationState,
    Kind,
    Reason,
    Rule,
    RuleChannel,
    RuleDevice,
    RuleSet,
    RuleTag,
)
from readings.alarms.parameters import condition_of
from readings.alarms.scopes import (
    applied_devices,
    devices_of,
    lock_tags,
    name_devices,
    name_tags,
    tagged_devices,
    tags_of,
)
from readings.alarms.signals import AlarmChange, announce, change_of

# Maximum number of rules. Every one costs each reading of its devices.
RULES_MAX = 500

# Alarms that one statement resolves.
CHUNK = 500

# What decides about alarms. A change of any other field leaves the states as they are.
DECISIVE = (
    *("metric", "above", "below", "for_seconds", "clear_margin", "clear_for"),
    *("seconds", "tolerance", "change", "per", "is_active", "for_all_devices"),
)

# A rule judges readings that are stored from now on: rows only for logs with readings that were not judged yet. Of a
# silence of a metric, the devices that have reported the metric count as heard now.
BEGIN = """
INSERT INTO alarms_evaluationstate (rule_id, device_id, after_seq, state, heard_at)
SELECT %(rule)s, state.device_id, state.last_seq, '{{}}', CASE WHEN {reported} THEN {now} END
FROM devices_devicestate AS state
WHERE (state.alarms_seq < state.last_seq OR {reported}) AND {applies}
  AND NOT EXISTS (
    SELECT 1 FROM alarms_evaluationstate AS own WHERE own.rule_id = %(rule)s AND own.device_id = state.device_id
  )
"""
NAMED = "state.device_id IN (SELECT device_id FROM alarms_ruledevice WHERE rule_id = %(rule)s)"
CHOSEN = "state.device_id IN (SELECT * FROM json_array_elements_text(%(chosen)s::json))"
CHOSEN_SQLITE = "state.device_id IN (SELECT value FROM json_each(%(chosen)s))"
# Names of metrics need no escaping (`devices.metrics.METRIC_NAME`).
REPORTED = "strpos(state.latest, %(metric)s) > 0"
REPORTED_SQLITE = "instr(state.latest, %(metric)s) > 0"


def create_rule(
    fields: Mapping[str, Any],
    device_ids: Sequence[str],
    *,
    tags: Sequence[str] = (),
    channel_ids: Sequence[int] = (),
    now: datetime,
    by: Author | None = None,
) -> Rule:
    """Creates a rule from the fields of its model. It applies to these devices; to all, if there are none.

    `tags`: it applies to the devices that have all of these tags instead. Raises UnknownTags.
    `channel_ids`: the channels that get its messages.

    `by`: the account under which the list of changes has it, here and below; None: the list does not have it.

    It judges readings that are stored from now on. Devices that are silent already are noticed by the next step.
    """
    with transaction.atomic():
        named_tags = lock_tags(tags)
        raise_version()
        for_all = not (device_ids or named_tags)
        rule = Rule.objects.create(**fields, for_all_devices=for_all, judged_since=now, created_at=now)
        name_tags(rule, named_tags)
        name_devices(rule, tagged_devices(named_tags) if named_tags else device_ids)
        name_channels(rule, channel_ids)
        if rule.is_active:
            begin(rule, now=now)
        if by is not None:
            log_added([rule], by=by)
    return rule


def change_rule(
    rule: Rule,
    fields: Mapping[str, Any],
    device_ids: Sequence[str] | None,
    *,
    tags: Sequence[str] | None = None,
    channel_ids: Sequence[int] | None = None,
    now: datetime,
    by: Author | None = None,
) -> Rule:
    """Changes these fields, and the devices, tags and channels unless None.

    With tags it applies to the devices that have all of them, and names no device. Raises Rule.DoesNotExist if it was
    deleted, and UnknownTags.

    A rule that decides differently judges readings from now on; its open alarms stay open and are judged by the rule
    as it is now, except those about another metric or about devices that it no longer applies to.
    """
    changes: list[AlarmChange] = []
    with transaction.atomic():
        wanted_tags = None if tags is None else lock_tags(tags)
        raise_version()
        rule = Rule.objects.existing().get(pk=rule.pk)
        before = {name: getattr(rule, name) for name in DECISIVE}
        named_before, tags_before = devices_of(rule), tags_of(rule)
        changed = [name for name, value in fields.items() if getattr(rule, name) != value]
        values_before = values_of(rule, changed)
        for name, value in fields.items():
            setattr(rule, name, value)
        named_tags = tags_before if wanted_tags is None else wanted_tags
        named = named_before if device_ids is None else sorted(set(device_ids))
        named = [] if named_tags else named
        scope_changed = named != named_before or named_tags != tags_before
        if scope_changed:
            rule.for_all_devices = not (named or named_tags)
            name_tags(rule, named_tags)
            name_devices(rule, tagged_devices(named_tags) if named_tags else named)
        if before != {name: getattr(rule, name) for name in DECISIVE} or scope_changed:
            rule.judged_since = now
            changes = judge_anew(rule, metric_changed=before["metric"] != rule.metric, now=now)
        rule.save()
        if named != named_before:
            changed.append("devices")
        if named_tags != tags_before:
            changed.append("tags")
        values_after = values_of(rule, changed)
        channels_before = channels_of(rule)
        if channel_ids is not None and channels_before != sorted(set(channel_ids)):
            name_channels(rule, channel_ids)
            changed.append("channels")
        if by is not None:
            related_before = {"devices": named_before, "tags": names_of(tags_before), "channels": channels_before}
            related = {"devices": named, "tags": names_of(named_tags), "channels": channel_ids}
            for name in related.keys() & changed:
                values_before[name], values_after[name] = related_before[name], related[name]
            log_changed([rule], changed, by=by, before=values_before, after=values_after)
    announce(changes)
    return rule


def names_of(tags: Sequence[Tag]) -> list[str]:
    return [tag.name for tag in tags]


def delete_rule(rule: Rule, *, now: datetime, by: Author | None = None) -> None:
    """Resolves the open alarms of the rule. Its row stays as long as alarms name it. Deleted before: does nothing."""
    with transaction.atomic():
        raise_version()
        if not Rule.objects.existing().filter(pk=rule.pk).update(deleted_at=now, is_active=False):
            return
        RuleDevice.objects.filter(rule=rule).delete()
        RuleTag.objects.filter(rule=rule).delete()
        changes = stand_down(rule, Reason.RULE_DELETED, now=now)
        if by is not None:
            log_deleted([rule], by=by)
    announce(changes)


def raise_version() -> None:
    """Waits for a step of the evaluation that is being stored."""
    if not RuleSet.objects.update(version=F("version") + 1):
        RuleSet.objects.create(id=1, version=1)


def channels_of(rule: Rule) -> list[int]:
    """The ids of the channels that get the messages of the rule, in their order."""
    return list(RuleChannel.objects.filter(rule=rule).order_by("channel_id").values_list("channel_id", flat=True))


def name_channels(rule: Rule, channel_ids: Sequence[int]) -> None:
    """Channels that were deleted meanwhile are left out."""
    RuleChannel.objects.filter(rule=rule).delete()
    chosen = Channel.objects.filter(pk__in=channel_ids)
    RuleChannel.objects.bulk_create([RuleChannel(rule=rule, channel=channel) for channel in chosen])


def judge_anew(rule: Rule, *, metric_changed: bool, now: datetime) -> list[AlarmChange]:
    """Forgets what the rule knew, except of alarms that stay open; returns the alarms that it resolved."""
    if not rule.is_active:
        return stand_down(rule, Reason.RULE_OFF, now=now)
    ended = Alarm.objects.open().filter(rule=rule)
    if not metric_changed:
        ended = ended.none() if rule.for_all_devices else ended.exclude(device_id__in=applied_devices(rule))
    changes = resolve_all(alarms := list(ended.select_related("rule", "device")), Reason.RULE_CHANGED, now=now)
    Notices([("resolved", alarm) for alarm in alarms], now=now, in_evaluation=False).write()
    keeps_heard = rule.kind == Kind.SILENCE and not metric_changed
    states = EvaluationState.objects.filter(rule=rule)
    if keeps_heard:
        if not rule.for_all_devices:
            states.exclude(device_id__in=applied_devices(rule)).delete()
    else:
        states.delete()
        keep_open(rule)
    begin(rule, now=now)
    return changes


def keep_open(rule: Rule) -> None:
    """Makes states for the alarms that stay open, with their worst values as the changed rule sees them."""
    if rule.kind == Kind.SILENCE:
        return
    condition = condition_of(rule)
    still = Alarm.objects.open().filter(rule=rule).select_related("device__state")
    states = []
    for alarm in still:
        assert alarm.worst is not None
        excess = max(0.0, condition.excess(alarm.worst)) if isinstance(condition, Threshold) else 0.0
        open_alarm = OpenAlarm(alarm.began_at, alarm.opened_at, alarm.worst, excess)
        states.append(
            EvaluationState(
                rule=rule,
                device=alarm.device,
                after_seq=alarm.device.state.last_seq,
                state=msgspec.json.encode(State(alarm=open_alarm)).decode(),
            )
        )
    EvaluationState.objects.bulk_create(states)


def begin(rule: Rule, *, device_ids: Sequence[str] | None = None, now: datetime) -> None:
    """Makes the rule judge from the ends of the logs on, where it has no state yet.

    `device_ids`: only the logs of these devices; None: of all that it applies to.
    """
    postgresql = connection.vendor == "postgresql"
    reported = "false" if postgresql else "0"
    if rule.kind == Kind.SILENCE and rule.metric:
        reported = REPORTED if postgresql else REPORTED_SQLITE
    elif rule.kind == Kind.SILENCE:
        return  # judges no readings
    parameters = {"rule": rule.pk, "metric": f'"{rule.metric}":', "now": adapted(now)}
    applies = ("true" if postgresql else "1") if rule.for_all_devices else NAMED
    if device_ids is not None:
        applies = CHOSEN if postgresql else CHOSEN_SQLITE
        parameters["chosen"] = msgspec.json.encode(device_ids).decode()
    moment = "%(now)s::timestamptz" if postgresql else "%(now)s"
    with connection.cursor() as cursor:
        cursor.execute(BEGIN.format(reported=reported, applies=applies, now=moment), parameters)


def adapted(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


def stand_down(rule: Rule, reason: Reason, *, now: datetime) -> list[AlarmChange]:
    """Resolves the open alarms of a rule that no longer judges, and deletes its states and what it had to send."""
    drop(rule, now=now)
    EvaluationState.objects.filter(rule=rule).delete()
    return resolve_all(list(Alarm.objects.open().filter(rule=rule).select_related("rule", "device")), reason, now=now)


def resolve_all(alarms: Sequence[Alarm], reason: Reason, *, now: datetime) -> list[AlarmChange]:
    for alarm in alarms:
        alarm.resolve(now, reason)
    for first in range(0, len(alarms), CHUNK):
        chosen = [alarm.pk for alarm in alarms[first : first + CHUNK]]
        Alarm.objects.filter(pk__in=chosen).update(resolved_at=now, reason=reason)
    return [change_of("resolved", alarm) for alarm in alarms]

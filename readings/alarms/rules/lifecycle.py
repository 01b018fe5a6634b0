"""What happens to states and open alarms when a rule begins to judge, changes, or stops.

Called in a transaction that has raised the version of the `RuleSet`, so that no step of the evaluation is stored
meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from django.db import connection
from django.db.models import F

from readings.alarms.conditions.states import OpenAlarm, State
from readings.alarms.conditions.threshold import Threshold
from readings.alarms.delivery.gathering import Notices
from readings.alarms.delivery.outbox import drop
from readings.alarms.models import Alarm, EvaluationState, Kind, Reason, Rule, RuleSet
from readings.alarms.parameters import condition_of
from readings.alarms.rules.scopes import applied_devices
from readings.alarms.signals import AlarmChange, change_of

# Alarms that one statement resolves.
CHUNK = 500

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


def raise_version() -> None:
    """Waits for a step of the evaluation that is being stored."""
    if not RuleSet.objects.update(version=F("version") + 1):
        RuleSet.objects.get_or_create(id=1)  # another transaction may be making it
        RuleSet.objects.update(version=F("version") + 1)


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
    """Resolves the open alarms of a rule that no longer judges, and deletes its states and what it had to send.

    That includes what a mute holds back.
    """
    drop(rule, now=now)
    Alarm.objects.filter(rule=rule, held=True).update(held=False)
    EvaluationState.objects.filter(rule=rule).delete()
    return resolve_all(list(Alarm.objects.open().filter(rule=rule).select_related("rule", "device")), reason, now=now)


def resolve_all(alarms: Sequence[Alarm], reason: Reason, *, now: datetime) -> list[AlarmChange]:
    for alarm in alarms:
        alarm.resolve(now, reason)
    for first in range(0, len(alarms), CHUNK):
        chosen = [alarm.pk for alarm in alarms[first : first + CHUNK]]
        Alarm.objects.filter(pk__in=chosen).update(resolved_at=now, reason=reason)
    return [change_of("resolved", alarm) for alarm in alarms]

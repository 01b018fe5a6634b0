"""Silences: looks which devices were not heard from for too long, and which were heard from again."""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, IntegerField, Q, QuerySet, Value
from django.db.models.functions import Coalesce

from devices.models import DeviceState
from devices.status import FUTURE_TOLERANCE, OFFLINE_AFTER_INTERVALS
from readings.alarms.conditions.silence import Heard, Silence, Silent, judge
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules
from readings.alarms.evaluation.outcomes import Outcome
from readings.alarms.models import Alarm, EvaluationState, Reception
from readings.alarms.signals import AlarmChange

# Maximum number of devices in one transaction.
STEP_DEVICES = 1_000


class Hearing(NamedTuple):
    """A device, the latest receipt that the rule counts, and how long the device may be silent, in seconds.

    `said_offline_at`: when the device said that it is offline, if the rule follows that.
    """

    device_id: str
    at: datetime | None
    allowed_seconds: float
    said_offline_at: datetime | None


def look(rules: ActiveRules, *, now: datetime, judged: Collection[str] | None = None) -> Iterator[list[AlarmChange]]:
    """Opens and resolves alarms about silences, in transactions of at most STEP_DEVICES; yields changes to announce.

    `judged`: the devices of which all readings were judged; None: all. Of the others nothing is known about silences of
    a metric, except that they ended. Does nothing while no process receives readings. Raises Outrun and DatabaseError.
    """
    yield from heard_again(rules, now=now)
    reception = Reception.objects.first()
    if reception is None:
        return
    for active in rules.silences:
        condition = active.condition
        assert isinstance(condition, Silence)
        only = judged if condition.metric is not None else None
        while found := too_long_silent(active, condition, reception, now=now, only=only):
            yield settle(rules, active, found, reception, now=now)
            if len(found) < STEP_DEVICES:
                break


def heard_again(rules: ActiveRules, *, now: datetime) -> Iterator[list[AlarmChange]]:
    """Resolves the alarms about silences that have ended, as `look` does."""
    silent = Alarm.objects.open().filter(rule_id__in=[active.pk for active in rules.silences])
    open_of = set[int]()
    if rules.silences:
        open_of.update(silent.order_by().values_list("rule_id", flat=True).distinct())
    reception = Reception.objects.first() if open_of else None
    if reception is None:
        return
    for active in rules.silences:
        condition = active.condition
        assert isinstance(condition, Silence)
        while active.pk in open_of and (found := no_longer_silent(active, condition)):
            yield settle(rules, active, found, reception, now=now)
            if len(found) < STEP_DEVICES:
                break


def suspects(
    rules: ActiveRules, *, now: datetime, heard: Callable[[str, str], datetime | None] = lambda *_: None
) -> set[str]:
    """The devices for which the silence of a metric opens now, unless readings that were not judged yet have it.

    Of each rule at least STEP_DEVICES, if there are so many. `heard`: when the last reading that waits in memory and
    has this metric has arrived. A device that was heard recently enough is left out: with all those that report, the
    first ones would always be the same.
    """
    reception = Reception.objects.first()
    found: set[str] = set()
    for active in rules.silences:
        condition = active.condition
        assert isinstance(condition, Silence)
        if reception is None or condition.metric is None:
            continue
        of_rule, after, more = set[str](), "", True
        while more and len(of_rule) < STEP_DEVICES:
            silent = too_long_silent(active, condition, reception, now=now, after=after)
            for hearing in silent:
                at = None if hearing.said_offline_at else heard(hearing.device_id, condition.metric)
                if at is None or (now - at).total_seconds() >= hearing.allowed_seconds:
                    of_rule.add(hearing.device_id)
            after, more = silent[-1].device_id if silent else "", len(silent) == STEP_DEVICES
        found |= of_rule
    return found


def silent_devices(rules: ActiveRules) -> list[str]:
    """The devices with an open alarm about the silence of a metric, which the next value of the metric resolves."""
    of_metric = [active.pk for active in rules.silences if active.metric]
    if not of_metric:
        return []
    return [
        str(device_id)
        for device_id in Alarm.objects.open().filter(rule_id__in=of_metric).values_list("device_id", flat=True)
    ]


def settle(
    rules: ActiveRules, active: ActiveRule, hearings: list[Hearing], reception: Reception, *, now: datetime
) -> list[AlarmChange]:
    known = {
        alarm.device_id: alarm
        for alarm in Alarm.objects.open().filter(rule=active.rule, device_id__in=[h.device_id for h in hearings])
    }
    outcome = Outcome({(active.rule.pk, device_id): alarm for device_id, alarm in known.items()}, now=now)
    for hearing in hearings:
        alarm = known.get(hearing.device_id)
        _, events = judge(
            Silent(alarm.began_at if alarm else None),
            Heard(
                at=hearing.at,
                listening_since=reception.since,
                listening_until=reception.until,
                said_offline_at=hearing.said_offline_at,
            ),
            now,
            allowed_seconds=hearing.allowed_seconds,
            judged_since=active.judged_since(hearing.device_id),
        )
        outcome.apply(active, hearing.device_id, events)
    return outcome.store(rules)


def no_longer_silent(active: ActiveRule, condition: Silence) -> list[Hearing]:
    """Devices with an open alarm that were heard from since it began."""
    opened = Alarm.objects.open().filter(rule=active.rule)
    began_at = {str(device_id): began for device_id, began in opened.values_list("device_id", "began_at")}
    if not began_at:
        return []
    heard = hearings(active, condition).filter(device_id__in=opened.values("device_id"))
    return [hearing for hearing in evaluated(heard) if hearing.at != began_at[hearing.device_id]][:STEP_DEVICES]


def too_long_silent(
    active: ActiveRule,
    condition: Silence,
    reception: Reception,
    *,
    now: datetime,
    only: Collection[str] | None = None,
    after: str = "",
) -> list[Hearing]:
    """Active devices without an open alarm that have been silent for too long while the server listened.

    `only`: of these devices; None: of all. `after`: only those with a greater id.
    """
    if only is not None and not only:
        return []
    until = min(now, reception.until)
    listened = (until - reception.since).total_seconds()
    found = hearings(active, condition).filter(device__is_active=True)
    allowed = ExpressionWrapper(F("allowed") * Value(timedelta(seconds=1)), output_field=DurationField())
    deadline = ExpressionWrapper(F("heard") + allowed, output_field=DateTimeField())
    # A receipt in the future was dated by a wrong clock.
    wrong = Q(heard__gt=reception.until + FUTURE_TOLERANCE)
    silent = Q(allowed__lte=int(listened)) & (Q(deadline__lte=until) | wrong)
    found = found.annotate(deadline=deadline).filter(silent | Q(offline_at__lte=until))
    found = found.exclude(device_id__in=Alarm.objects.open().filter(rule=active.rule).values("device_id"))
    if only is not None:
        found = found.filter(device_id__in=only)
    if after:
        found = found.filter(device_id__gt=after)
    return evaluated(found.order_by("device_id")[:STEP_DEVICES])


def hearings(active: ActiveRule, condition: Silence) -> QuerySet[Any]:
    """The devices of the rule that were ever heard from, with `heard` and `allowed` (seconds)."""
    rows: QuerySet[Any]
    if condition.metric is None:
        rows = DeviceState.objects.filter(last_seen_at__isnull=False).annotate(heard=F("last_seen_at"))
    else:
        rows = EvaluationState.objects.filter(rule=active.rule, heard_at__isnull=False).annotate(heard=F("heard_at"))
    if active.device_ids is not None:
        rows = rows.filter(device_id__in=active.device_ids)
    if condition.seconds is not None:
        allowed: Any = Value(int(condition.seconds), output_field=IntegerField())
        offline_at: Any = Value(None, output_field=DateTimeField())
    else:
        interval = Coalesce(F("device__report_interval"), Value(settings.DEFAULT_REPORT_INTERVAL))
        allowed = ExpressionWrapper(interval * Value(OFFLINE_AFTER_INTERVALS), output_field=IntegerField())
        offline_at = F("said_offline_at" if condition.metric is None else "device__state__said_offline_at")
    return rows.annotate(allowed=allowed, offline_at=offline_at)


def evaluated(rows: QuerySet[Any]) -> list[Hearing]:
    return [Hearing(*row) for row in rows.values_list("device_id", "heard", "allowed", "offline_at")]

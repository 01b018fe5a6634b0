"""One step of the evaluation: the next readings of some devices, judged by every rule that applies to them."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.silence import Silence
from readings.alarms.conditions.states import IDLE, Event, State
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules
from readings.alarms.evaluation.judging import decode_state, encode_state, judge
from readings.alarms.evaluation.outcomes import Outcome, Pair, Written, open_alarms
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.samples import Series, Value, read_series
from readings.alarms.models import EvaluationState
from readings.alarms.signals import AlarmChange

# Called with a rule, the device and the error if judging raises one.
Failed = Callable[[ActiveRule, str, Exception], None]


class Known(msgspec.Struct, frozen=True):
    """The fields of a stored `EvaluationState`."""

    after_seq: int
    state: str
    heard_at: datetime | None


class Judged(msgspec.Struct):
    """What a rule found out about a device. `before` None: it had no state."""

    active: ActiveRule
    device_id: str
    before: Known | None
    old: State
    new: State
    events: list[Event]
    heard: bool


def take_step(rules: ActiveRules, parts: Sequence[Part], *, now: datetime, failed: Failed) -> list[AlarmChange]:
    """Judges these readings and stores the outcome in one transaction; returns the changes to announce.

    A rule that raises an error for a device is left out for these readings of this device; `failed` is called. Raises
    Outrun and DatabaseError: nothing was stored.
    """
    known = states_of(rules, parts)
    series = read_series(parts, rules.metrics)
    judged = []
    for part in parts:
        of_device = series[part.device_id]
        ranges = {metric: range_of(values) for metric, values in of_device.values.items()}
        for active in rules.of_device(part.device_id):
            before = known.get((active.rule.pk, part.device_id))
            extent = ranges[active.rule.metric]
            # The usual case: nothing is written, and the condition is not asked.
            if before is None and (extent is None or active.is_idle_within(*extent)):
                continue
            try:
                found = judge_device(active, part, of_device, before, now=now)
            except Exception as error:
                failed(active, part.device_id, error)
            else:
                if found is not None:
                    judged.append(found)
    outcome = Outcome(open_alarms(pairs_with_alarm(judged)), now=now)
    for found in judged:
        conclude(found, outcome)
    moved = [msgspec.structs.replace(part, newest=series[part.device_id].newest) for part in parts]
    return outcome.store(rules, moved)


def states_of(rules: ActiveRules, parts: Sequence[Part]) -> dict[Pair, Known]:
    found = EvaluationState.objects.filter(
        rule_id__in=[active.rule.pk for active in rules.of_readings], device_id__in=[part.device_id for part in parts]
    ).values_list("rule_id", "device_id", "after_seq", "state", "heard_at")
    return {
        (rule_id, str(device_id)): Known(after_seq, state, heard_at)
        for rule_id, device_id, after_seq, state, heard_at in found
    }


def range_of(values: Sequence[Value]) -> tuple[float, float] | None:
    """The lowest and highest of the values; None without values."""
    if not values:
        return None
    numbers = [value.sample.value for value in values]
    return min(numbers), max(numbers)


def judge_device(
    active: ActiveRule, part: Part, series: Series, before: Known | None, *, now: datetime
) -> Judged | None:
    """None if nothing changes."""
    after_seq = before.after_seq if before else 0
    values = series.values[active.rule.metric]
    samples = [value.sample for value in values if value.seq > after_seq]
    if isinstance(active.condition, Silence):
        return Judged(active, part.device_id, before, IDLE, IDLE, [], heard=True) if samples else None
    old = decode_state(before.state) if before else IDLE
    new, events = judge(active.condition, old, samples, now=now)
    if new == old and not events and not (before and new == IDLE and after_seq <= part.until):
        return None
    return Judged(active, part.device_id, before, old, new, events, heard=False)


def pairs_with_alarm(judged: Sequence[Judged]) -> list[Pair]:
    return [(found.active.rule.pk, found.device_id) for found in judged if found.old.alarm is not None]


def conclude(found: Judged, outcome: Outcome) -> None:
    """Adds the events and the new state to the outcome. A state that says nothing is deleted."""
    pair = found.active.rule.pk, found.device_id
    outcome.apply(found.active, found.device_id, found.events)
    if found.new.alarm is not None:
        outcome.worsen(pair, found.new.alarm.worst)
    if found.new == IDLE and not found.heard:
        if found.before:
            outcome.deleted.append(pair)
        return
    after_seq = found.before.after_seq if found.before else 0
    state = "{}" if found.heard else encode_state(found.new).decode()
    outcome.written.append(Written(*pair, after_seq, state, outcome.now if found.heard else None))

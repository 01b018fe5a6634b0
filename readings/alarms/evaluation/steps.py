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
from readings.alarms.evaluation.samples import Value, read_series
from readings.alarms.models import EvaluationState
from readings.alarms.signals import AlarmChange

# Called with a rule, the device and the error if judging raises one.
Failed = Callable[[ActiveRule, str, Exception], None]


class Known(msgspec.Struct, frozen=True, gc=False):
    """The fields of a stored `EvaluationState`."""

    after_seq: int
    state: str
    heard_at: datetime | None

    @property
    def says_nothing(self) -> bool:
        """Whether it only says where the rule began."""
        return self.heard_at is None and self.state == "{}"


class Judged(msgspec.Struct, gc=False):
    """What a rule found out about a device. `before` None: it had no state."""

    active: ActiveRule
    device_id: str
    before: Known | None
    old: State
    new: State
    events: list[Event]
    heard: bool = False

    @property
    def pair(self) -> Pair:
        return self.active.pk, self.device_id


def take_step(rules: ActiveRules, parts: Sequence[Part], *, now: datetime, failed: Failed) -> list[AlarmChange]:
    """Judges these readings and stores the outcome in one transaction; returns the changes to announce.

    A rule that raises an error for a device is left out for these readings of this device; `failed` is called. Raises
    Outrun and DatabaseError: nothing was stored.
    """
    known = states_of(rules, parts)
    series = read_series(parts, rules.metrics)
    judged: list[Judged] = []
    for part in parts:
        values, states = series[part.device_id].values, known.get(part.device_id, {})
        judged += judge_device(rules, part, values, states, now=now, failed=failed)
    outcome = Outcome(open_alarms([found.pair for found in judged if found.old.alarm is not None]), now=now)
    for found in judged:
        conclude(found, outcome)
    moved = [msgspec.structs.replace(part, newest=series[part.device_id].newest) for part in parts]
    return outcome.store(rules, moved)


def states_of(rules: ActiveRules, parts: Sequence[Part]) -> dict[str, dict[int, Known]]:
    """What the rules know of these devices, by device id and rule id."""
    found: dict[str, dict[int, Known]] = {}
    rows = EvaluationState.objects.filter(
        rule_id__in=list(rules.by_pk), device_id__in=[part.device_id for part in parts]
    ).values_list("rule_id", "device_id", "after_seq", "state", "heard_at")
    for rule_id, device_id, after_seq, state, heard_at in rows:
        found.setdefault(str(device_id), {})[rule_id] = Known(after_seq, state, heard_at)
    return found


def judge_device(
    rules: ActiveRules,
    part: Part,
    values: dict[str, list[Value]],
    known: dict[int, Known],
    *,
    now: datetime,
    failed: Failed,
) -> list[Judged]:
    """What the rules that apply to the device found out, as far as it changes anything, in the order of the rules."""
    judged: list[Judged] = []
    for metric, of_metric in values.items():
        rules_of_metric = rules.judging(part.device_id, metric)
        if not rules_of_metric:
            continue
        low, high = range_of(of_metric)
        for active in rules_of_metric:
            before = known.get(active.pk)
            # The usual case: nothing is written, and the condition is not asked.
            if before is None and active.is_idle_within(low, high):
                continue
            try:
                found = judge_values(active, part, of_metric, before, now=now)
            except Exception as error:
                failed(active, part.device_id, error)
            else:
                if found is not None:
                    judged.append(found)
    for pk, before in known.items():
        active = rules.by_pk[pk]
        if before.says_nothing and before.after_seq <= part.until and active.metric not in values:
            judged.append(Judged(active, part.device_id, before, IDLE, IDLE, []))
    return sorted(judged, key=lambda found: found.active.pk)


def range_of(values: Sequence[Value]) -> tuple[float, float]:
    """The lowest and highest of the values, of which there must be one."""
    if len(values) == 1:  # the usual case
        return values[0].sample.value, values[0].sample.value
    numbers = [value.sample.value for value in values]
    return min(numbers), max(numbers)


def judge_values(
    active: ActiveRule, part: Part, values: Sequence[Value], before: Known | None, *, now: datetime
) -> Judged | None:
    """None if nothing changes."""
    after_seq = before.after_seq if before else 0
    samples = [value.sample for value in values if value.seq > after_seq]
    if isinstance(active.condition, Silence):
        return Judged(active, part.device_id, before, IDLE, IDLE, [], heard=True) if samples else None
    old = decode_state(before.state) if before else IDLE
    new, events = judge(active.condition, old, samples, now=now)
    if new == old and not events and not (before and new == IDLE and after_seq <= part.until):
        return None
    return Judged(active, part.device_id, before, old, new, events)


def conclude(found: Judged, outcome: Outcome) -> None:
    """Adds the events and the new state to the outcome. A state that says nothing is deleted."""
    outcome.apply(found.active, found.device_id, found.events)
    if found.new.alarm is not None:
        outcome.worsen(found.pair, found.new.alarm.worst)
    if found.new == IDLE and not found.heard:
        if found.before:
            outcome.deleted.append(found.pair)
        return
    after_seq = found.before.after_seq if found.before else 0
    state = "{}" if found.heard else encode_state(found.new).decode()
    outcome.written.append(Written(*found.pair, after_seq, state, outcome.now if found.heard else None))

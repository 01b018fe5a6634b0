"""One step of the evaluation: the next readings of some devices, judged by every rule that applies to them."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.silence import Silence
from readings.alarms.conditions.states import IDLE, Event, State
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules
from readings.alarms.evaluation.judging import encode_state, judge
from readings.alarms.evaluation.memory import Known, Memory, is_kept_back, must_store, must_store_hearing
from readings.alarms.evaluation.outcomes import Outcome, Pair, Written, open_alarms
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.samples import Value, read_series
from readings.alarms.evaluation.states import load_states
from readings.alarms.signals import AlarmChange

# Called with a rule, the device and the error if judging raises one.
Failed = Callable[[ActiveRule, str, Exception], None]


class Judged(msgspec.Struct, gc=False):
    """What a rule found out about the device of a part. `before` None: it had no state. `late`: some values were."""

    active: ActiveRule
    part: Part
    before: Known | None
    old: State
    new: State
    events: list[Event]
    heard: bool = False
    late: bool = False

    @property
    def pair(self) -> Pair:
        return self.active.pk, self.part.device_id


def take_step(
    rules: ActiveRules, parts: Sequence[Part], *, now: datetime, failed: Failed, memory: Memory
) -> list[AlarmChange]:
    """Judges these readings and stores the outcome in one transaction; returns the changes to announce.

    A rule that raises an error for a device is left out for these readings of this device; `failed` is called. Raises
    Outrun and DatabaseError: nothing was stored.
    """
    memory.follow(rules.version)
    states = {part.device_id: memory.of(part.device_id, part.after) for part in parts}
    loaded = load_states(rules, [part for part in parts if states[part.device_id] is None], now=now)
    series = read_series(parts, rules.metrics)
    judged: list[Judged] = []
    for part in parts:
        known = states[part.device_id]
        known = loaded[part.device_id] if known is None else known
        judged += judge_device(rules, part, series[part.device_id].values, known, now=now, failed=failed)
    if any(found.events for found in judged):
        place = {part.device_id: number for number, part in enumerate(parts)}
        judged.sort(key=lambda found: (place[found.part.device_id], found.active.pk))
    outcome = Outcome(open_alarms([found.pair for found in judged if found.old.alarm is not None]), now=now)
    learned: dict[str, dict[int, Known | None]] = {}
    for found in judged:
        learned.setdefault(found.part.device_id, {})[found.active.pk] = conclude(found, outcome, memory)
    moved = [msgspec.structs.replace(part, newest=series[part.device_id].newest) for part in parts]
    changes = outcome.store(rules, moved)
    for part in parts:
        known = states[part.device_id]
        known = loaded[part.device_id] if known is None else known
        if news := learned.get(part.device_id):
            known = {pk: new for pk, new in (known | news).items() if new is not None}
        memory.learn(part.device_id, part.until, known)
    return changes


def judge_device(
    rules: ActiveRules,
    part: Part,
    values: dict[str, list[Value]],
    known: dict[int, Known],
    *,
    now: datetime,
    failed: Failed,
) -> list[Judged]:
    """What the rules that apply to the device found out from its values, as far as it changes anything."""
    judged: list[Judged] = []
    for metric, of_metric in values.items():
        rules_of_metric = rules.judging(part.device_id, metric)
        if not rules_of_metric:
            continue
        first = of_metric[0].sample.value
        low, high = (first, first) if len(of_metric) == 1 else range_of(of_metric)
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
        if before.says_nothing and before.after_seq <= part.until and rules.by_pk[pk].metric not in values:
            active = rules.by_pk[pk]
            if not isinstance(active.condition, Silence):
                judged.append(Judged(active, part, before, IDLE, IDLE, []))
    return judged


def range_of(values: Sequence[Value]) -> tuple[float, float]:
    """The lowest and highest of the values, of which there must be one."""
    numbers = [value.sample.value for value in values]
    return min(numbers), max(numbers)


def judge_values(
    active: ActiveRule, part: Part, values: Sequence[Value], before: Known | None, *, now: datetime
) -> Judged | None:
    """None if nothing changes."""
    after_seq = before.after_seq if before else 0
    samples = [value.sample for value in values if value.seq > after_seq]
    if isinstance(active.condition, Silence):
        return Judged(active, part, before, IDLE, IDLE, [], heard=True) if samples else None
    old = before.state if before else IDLE
    new, events = judge(active.condition, old, samples, now=now)
    if is_kept_back(active.condition):  # whose stored state must not lag too far behind, even if it is the same
        return Judged(active, part, before, old, new, events, late=any(sample.late for sample in samples))
    if new == old and not events and not (before and new == IDLE and after_seq <= part.until):
        return None
    return Judged(active, part, before, old, new, events)


def conclude(found: Judged, outcome: Outcome, memory: Memory) -> Known | None:
    """Adds the events and the new state to the outcome; returns what the rule knows now.

    A state that says nothing is deleted; one that may be stored later is not stored.
    """
    active, before, until, now = found.active, found.before, found.part.until, outcome.now
    condition = active.condition
    if found.events:
        outcome.apply(active, found.part.device_id, found.events)
    if found.new.alarm is not None:
        outcome.worsen(found.pair, found.new.alarm.worst)
    after_seq = before.after_seq if before else 0
    if found.heard:
        assert isinstance(condition, Silence)
        if before and found.pair not in memory.silent and not must_store_hearing(before, condition, now=now):
            return msgspec.structs.replace(before, heard_at=now)
        outcome.written.append(Written(*found.pair, after_seq, "{}", now, until))
        return Known(after_seq, IDLE, now, until, now)
    if found.new == IDLE:
        if before:
            outcome.deleted.append(found.pair)
        return None
    judged_seq = until if is_kept_back(condition) else None
    stored = judged_seq is None or bool(found.events)
    if before and not stored and not must_store(before, found.new, until=until, late=found.late, now=now):
        return msgspec.structs.replace(before, state=found.new)
    outcome.written.append(Written(*found.pair, after_seq, encode_state(found.new).decode(), None, judged_seq))
    return Known(after_seq, found.new, None, judged_seq, now)

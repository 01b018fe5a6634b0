"""One step of the evaluation: the next readings of some devices, judged by every rule that applies to them."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.silence import Silence
from readings.alarms.conditions.states import IDLE, Calm, Event, Run, State
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules
from readings.alarms.evaluation.judging import calm, decode_state, encode_state, judge, uneventful
from readings.alarms.evaluation.known import Known, Pair, Written, read_known
from readings.alarms.evaluation.outcomes import Outcome, open_alarms
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.received import Received
from readings.alarms.evaluation.received_log import Expected
from readings.alarms.evaluation.samples import Column, Series, newest_after, read_series
from readings.alarms.signals import AlarmChange

# Called with a rule, the device and the error if judging raises one.
Failed = Callable[[ActiveRule, str, Exception], None]


class Judged(msgspec.Struct, gc=False):
    """What a rule found out about a device. `before` None: it had no state."""

    active: ActiveRule
    device_id: str
    before: Known | None
    old: State
    new: State
    events: list[Event]
    heard_at: datetime | None = None

    @property
    def pair(self) -> Pair:
        return self.active.pk, self.device_id

    @property
    def is_quiet(self) -> bool:
        """Whether it can be found out again later: no event, no open alarm, and no metric that was never heard before.

        Only a device that was heard can be silent.
        """
        if self.events or self.old.alarm is not None or self.new.alarm is not None:
            return False
        return self.heard_at is None or (self.before is not None and self.before.heard)


class Step(msgspec.Struct, frozen=True):
    """What a step has stored: the changes to announce, and the number of judged readings."""

    changes: list[AlarmChange]
    readings: int


def take_step(
    rules: ActiveRules,
    parts: Sequence[Part],
    *,
    now: datetime,
    failed: Failed,
    received: Received | None = None,
    quiet_wait: bool = False,
) -> Step:
    """Judges these readings and stores the outcome in one transaction.

    `received`: has some of the readings, and is told what was judged. `quiet_wait`: of a device without an event
    nothing is stored, if its readings may wait; then they are judged again later, with the same result.

    A rule that raises an error for a device is left out for these readings of this device; `failed` is called. Raises
    Outrun and DatabaseError: nothing was stored.
    """
    known = read_known([part.device_id for part in parts], rules.by_pk)
    series = series_of(parts, rules, received)
    judged: list[Judged] = []
    expected: dict[str, Expected] = {}
    stored: list[Part] = []
    for part in parts:
        of_device, states = series[part.device_id], known.get(part.device_id, {})
        expecting = None if received is None else expected.setdefault(part.device_id, {})
        found = judge_device(rules, part, of_device, states, now=now, failed=failed, expecting=expecting)
        if quiet_wait and received and received.may_wait(part) and all(one.is_quiet for one in found):
            received.looked_at(part, expected[part.device_id])
        else:
            stored.append(part)
            judged += found
    if not stored:
        return Step([], 0)
    outcome = Outcome(open_alarms([one.pair for one in judged if one.old.alarm is not None]), now=now)
    for one in judged:
        conclude(one, outcome)
    moved = [msgspec.structs.replace(part, newest=newest_after(part, series[part.device_id])) for part in stored]
    changes = outcome.store(rules, moved)
    if received is not None:
        for part in stored:
            received.judged(part, expected[part.device_id])
    return Step(changes, sum(part.length for part in stored))


def series_of(parts: Sequence[Part], rules: ActiveRules, received: Received | None) -> dict[str, Series]:
    """The values of these parts by device id: those that were received here, and the others from the log."""
    found: dict[str, Series] = {}
    if received is not None:
        for part in parts:
            series = received.series(part)
            if series is not None:
                found[part.device_id] = series
        parts = [part for part in parts if part.device_id not in found]
    return found | read_series(parts, rules.metrics) if parts else found


def judge_device(
    rules: ActiveRules,
    part: Part,
    series: Series,
    known: dict[int, Known],
    *,
    now: datetime,
    failed: Failed,
    expecting: Expected | None = None,
) -> list[Judged]:
    """What the rules that apply to the device found out, as far as it changes anything, in the order of the rules.

    Sets in `expecting`, if given, for each metric what brings no event afterwards.
    """
    judged: list[Judged] = []
    for metric, column in series.items():
        rules_of_metric = rules.judging(part.device_id, metric)
        if not rules_of_metric:
            if expecting is not None:
                expecting[metric] = (), column.newest()
            continue
        run = column.run()
        low, high = (run.low, run.high) if run else (min(column.values), max(column.values))
        calms: list[Calm | None] = []
        for active in rules_of_metric:
            before = known.get(active.pk)
            # The usual case: nothing is written, and the condition is not asked.
            if before is None and active.is_idle_within(low, high):
                calms.append(active.calm)
                continue
            try:
                found, new = judge_values(active, part, column, run, before, now=now)
            except Exception as error:
                failed(active, part.device_id, error)
                calms.append(None)
            else:
                if found is not None:
                    judged.append(found)
                if expecting is not None:
                    calms.append(calm(active.condition, new))
        if expecting is not None:
            expecting[metric] = calms, column.newest()
    for pk, before in known.items():
        active = rules.by_pk[pk]
        if before.says_nothing and before.after_seq <= part.until and active.metric not in series:
            judged.append(Judged(active, part.device_id, before, IDLE, IDLE, []))
    judged.sort(key=lambda found: found.active.pk)
    return judged


def judge_values(
    active: ActiveRule, part: Part, column: Column, run: Run | None, before: Known | None, *, now: datetime
) -> tuple[Judged | None, State]:
    """What the rule found out, None if nothing changes; and its state. `run`: the column, if no value of it is late."""
    after_seq = before.after_seq if before else 0
    if isinstance(active.condition, Silence):
        if column.seqs[-1] <= after_seq:
            return None, IDLE
        heard_at = now if column.arrived is None else min(now, column.arrived)
        return Judged(active, part.device_id, before, IDLE, IDLE, [], heard_at=heard_at), IDLE
    old = decode_state(before.state) if before else IDLE
    new, events = None, list[Event]()
    if run is not None and after_seq <= part.after:
        new = uneventful(active.condition, old, run)
    if new is None:
        new, events = judge(active.condition, old, column.samples(after_seq), now=now)
    if new == old and not events and not (before and new == IDLE and after_seq <= part.until):
        return None, new
    return Judged(active, part.device_id, before, old, new, events), new


def conclude(found: Judged, outcome: Outcome) -> None:
    """Adds the events and the new state to the outcome. A state that says nothing is deleted."""
    outcome.apply(found.active, found.device_id, found.events)
    if found.new.alarm is not None:
        outcome.worsen(found.pair, found.new.alarm.worst)
    if found.new == IDLE and found.heard_at is None:
        if found.before:
            outcome.deleted.append(found.pair)
        return
    after_seq = found.before.after_seq if found.before else 0
    state = "{}" if found.heard_at else encode_state(found.new).decode()
    outcome.written.append(Written(found.active.pk, found.device_id, after_seq, state, found.heard_at))

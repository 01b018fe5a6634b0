"""Reads the stored states of rules, and brings those that lack readings up to the positions of their devices."""

from collections.abc import Sequence
from datetime import datetime

from readings.alarms.conditions.states import State
from readings.alarms.evaluation.active_rules import ActiveRule, ActiveRules
from readings.alarms.evaluation.judging import decode_state, judge
from readings.alarms.evaluation.memory import Known, is_kept_back
from readings.alarms.evaluation.positions import Part
from readings.alarms.evaluation.samples import read_series
from readings.alarms.models import EvaluationState

# Devices whose readings are judged again at a time, each at most `memory.UNSTORED_READINGS`.
CHUNK = 500

Lacking = tuple[Part, ActiveRule, Known]


def load_states(rules: ActiveRules, parts: Sequence[Part], *, now: datetime) -> dict[str, dict[int, Known]]:
    """What the rules know of these devices at the beginning of their parts, by device id and rule id."""
    found: dict[str, dict[int, Known]] = {part.device_id: {} for part in parts}
    if not parts:
        return found
    by_id = {part.device_id: part for part in parts}
    rows = EvaluationState.objects.filter(rule_id__in=list(rules.by_pk), device_id__in=list(by_id)).values_list(
        "rule_id", "device_id", "after_seq", "state", "heard_at", "judged_seq"
    )
    lacking: list[Lacking] = []
    for rule_id, device_pk, after_seq, stored, heard_at, judged_seq in rows:
        part, active = by_id[str(device_pk)], rules.by_pk[rule_id]
        known = Known(after_seq, decode_state(stored), heard_at, judged_seq)
        found[part.device_id][rule_id] = known
        if judged_seq is not None and judged_seq < part.after and is_kept_back(active.condition):
            lacking.append((part, active, known))
    for first in range(0, len(lacking), CHUNK):
        for part, active, known, state in judged_again(lacking[first : first + CHUNK], now=now):
            found[part.device_id][active.pk] = Known(known.after_seq, state, known.heard_at, known.judged_seq)
    return found


def judged_again(lacking: Sequence[Lacking], *, now: datetime) -> list[tuple[Part, ActiveRule, Known, State]]:
    """The states after the readings that they lack, which opened and resolved nothing, and of which none was late."""
    starts: dict[str, int] = {}
    for part, _, known in lacking:
        assert known.judged_seq is not None
        starts[part.device_id] = min(starts.get(part.device_id, known.judged_seq), known.judged_seq)
    ends = {part.device_id: part.after for part, _, _ in lacking}
    again = [Part(device_id, start, ends[device_id], {}) for device_id, start in sorted(starts.items())]
    series = read_series(again, frozenset(active.metric for _, active, _ in lacking))
    states = []
    for part, active, known in lacking:
        assert known.judged_seq is not None
        begin = max(known.judged_seq, known.after_seq)
        values = series[part.device_id].values.get(active.metric, ())
        samples = [value.sample for value in values if value.seq > begin]
        state, _ = judge(active.condition, known.state, samples, now=now)
        states.append((part, active, known, state))
    return states

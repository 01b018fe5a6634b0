"""`threshold`: the value is above or below a bound."""

import math
from collections.abc import Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.episodes import follow
from readings.alarms.conditions.states import Calm, Event, Lane, Run, Sample, State, Verdict, seconds


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """`for_seconds`: how long the value must be beyond a bound, by the readings' own times.

    An alarm ends when the value has been within the bounds by `clear_margin` for `clear_for` seconds.
    """

    metric: str
    above: float | None = None
    below: float | None = None
    for_seconds: float = 0
    clear_margin: float = 0
    clear_for: float = 0

    def excess(self, value: float) -> float:
        """How far the value is beyond the nearer bound. Negative: how far it is within both."""
        beyond = [value - self.above] if self.above is not None else []
        if self.below is not None:
            beyond.append(self.below - value)
        return max(beyond)


def judge(condition: Threshold, state: State, samples: Sequence[Sample], now: datetime) -> tuple[State, list[Event]]:
    def observe(lane: Lane | None, sample: Sample) -> tuple[Lane | None, Verdict]:
        excess = condition.excess(sample.value)
        if excess <= 0:
            return None, Verdict(clear=excess <= -condition.clear_margin)
        lane = lane or Lane(since=sample.at)
        assert lane.since is not None
        ripe = sample.at - lane.since >= seconds(condition.for_seconds)
        return lane, Verdict(holds=True, ripe=ripe, since=lane.since, excess=excess)

    if (state.live, state.late, state.alarm) == (None, None, None) and all(
        condition.excess(s.value) <= 0 for s in samples
    ):
        return state, []  # the usual case, in a tenth of the time
    return follow(state, samples, observe, clear_for=condition.clear_for)


def uneventful(condition: Threshold, state: State, run: Run) -> State | None:
    """The state after a run within the bounds, the same as from `judge`; None if any value may change something."""
    if state.live is not None or state.alarm is not None:
        return None
    return state if max(condition.excess(run.low), condition.excess(run.high)) <= 0 else None


def calm(condition: Threshold, state: State) -> Calm | None:
    """Which values bring no event; None: any may bring one, because the value was beyond a bound."""
    if state.live is not None or state.alarm is not None:
        return None
    low = -math.inf if condition.below is None else condition.below
    return Calm(low, math.inf if condition.above is None else condition.above)

"""`stuck`: the value has not changed for too long, which is how many sensors fail."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.episodes import follow
from readings.alarms.conditions.states import ALWAYS_CALM, Calm, Event, Lane, Run, Sample, State, Verdict, seconds


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """A value that differs by more than `tolerance` from the first of a run ends the run and begins the next one."""

    metric: str
    seconds: float
    tolerance: float = 0


def judge(condition: Stuck, state: State, samples: Sequence[Sample], now: datetime) -> tuple[State, list[Event]]:
    def observe(lane: Lane | None, sample: Sample) -> tuple[Lane | None, Verdict]:
        if lane is None or lane.anchor is None or abs(sample.value - lane.anchor) > condition.tolerance:
            return Lane(since=sample.at, anchor=sample.value), Verdict(clear=True)
        assert lane.since is not None
        ripe = sample.at - lane.since >= seconds(condition.seconds)
        return lane, Verdict(holds=True, ripe=ripe, since=lane.since)

    return follow(state, samples, observe, clear_for=0)


def uneventful(condition: Stuck, state: State, run: Run) -> State | None:
    """The state after a run without events, the same as from `judge`; None if there may be one."""
    if state.alarm is not None:
        return None
    live, longest = state.live, seconds(condition.seconds)
    since, anchor = (None, None) if live is None else (live.since, live.anchor)
    if since is None or anchor is None:
        since, anchor = run.times[0], run.values[0]
    tolerance = condition.tolerance
    for at, value in zip(run.times, run.values, strict=True):
        if abs(value - anchor) > tolerance:
            since, anchor = at, value
        elif at - since >= longest:
            return None
    if live is not None and (since, anchor) == (live.since, live.anchor):
        return state
    return State(Lane(since=since, anchor=anchor), state.late, None, state.past)


def calm(condition: Stuck, state: State) -> Calm | None:
    """Which values bring no event; None: any may bring one. A value that differs only makes the run begin later."""
    if state.alarm is not None or state.live is None or state.live.since is None:
        return None
    return Calm(ALWAYS_CALM.low, ALWAYS_CALM.high, state.live.since + seconds(condition.seconds))

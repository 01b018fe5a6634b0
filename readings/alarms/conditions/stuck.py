"""`stuck`: the value has not changed for too long, which is how many sensors fail."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.episodes import follow
from readings.alarms.conditions.states import Event, Lane, Sample, State, Verdict, seconds


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

"""`rate`: the value changes too fast."""

import math
from collections.abc import Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions.episodes import follow
from readings.alarms.conditions.states import Calm, Event, Lane, Point, Run, Sample, State, Verdict, seconds

# Values closer together than this part of `per` share a point of the window, so that a window has at most about twice
# as many points. A value may therefore count for up to this part of `per` too long.
PARTS = 64


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """The newest value differs by more than `change` from any of the last `per` seconds.

    An alarm ends when the value has been slower for `clear_for` seconds.
    """

    metric: str
    change: float
    per: float
    clear_for: float = 0


def judge(condition: Rate, state: State, samples: Sequence[Sample], now: datetime) -> tuple[State, list[Event]]:
    def observe(lane: Lane | None, sample: Sample) -> tuple[Lane | None, Verdict]:
        oldest = sample.at - seconds(condition.per)
        window = [point for point in (lane.window if lane else ()) if point.last_at >= oldest]
        largest = max((max(point.high - sample.value, sample.value - point.low) for point in window), default=0.0)
        excess = largest - condition.change
        lane = Lane(window=tuple(extremes(with_value(window, sample, condition.per))))
        holds = excess > 0
        return lane, Verdict(holds=holds, clear=not holds, ripe=holds, since=sample.at, excess=max(excess, 0.0))

    return follow(state, samples, observe, clear_for=condition.clear_for)


def with_value(window: list[Point], sample: Sample, per: float) -> list[Point]:
    """The window with one more value, which joins the last point if that began less than `per` / PARTS before."""
    last = window[-1] if window else None
    if last is None or sample.at - last.first_at >= seconds(per / PARTS):
        return [*window, Point(sample.at, sample.at, sample.value, sample.value)]
    low, high = min(last.low, sample.value), max(last.high, sample.value)
    return [*window[:-1], Point(last.first_at, sample.at, low, high)]


def extremes(window: Sequence[Point]) -> list[Point]:
    """The points that can still decide: those with a value above or below every later one.

    Points leave the window by their times, so the later ones outlast the others. Usually only a few points decide.
    """
    kept: list[Point] = []
    low, high = math.inf, -math.inf
    for point in reversed(window):
        if point.low < low or point.high > high:
            kept.append(point)
            low, high = min(low, point.low), max(high, point.high)
    kept.reverse()
    return kept


def uneventful(condition: Rate, state: State, run: Run) -> State | None:
    """The state after a run without events, the same as from `judge`; None if there may be one."""
    window = list(state.live.window) if state.live else []
    low, high = run.low, run.high
    for point in window:
        low, high = min(low, point.low), max(high, point.high)
    if state.alarm is not None or high - low > condition.change:
        return None
    shortest, oldest = seconds(condition.per / PARTS), run.times[-1] - seconds(condition.per)
    if window:
        last = window.pop()
        first_at, last_at, low, high = last.first_at, last.last_at, last.low, last.high
    else:
        first_at = last_at = run.times[0]
        low = high = run.values[0]
    for at, value in zip(run.times, run.values, strict=True):
        if at - first_at >= shortest:
            window.append(Point(first_at, last_at, low, high))
            first_at, low, high = at, value, value
        elif value < low:
            low = value
        elif value > high:
            high = value
        last_at = at
    window.append(Point(first_at, last_at, low, high))
    kept = extremes([point for point in window if point.last_at >= oldest])
    return State(Lane(window=tuple(kept)), state.late, None, state.past)


def calm(condition: Rate, state: State) -> Calm | None:
    """Which values bring no event; None: any may bring one. Shares the change that is left between both directions."""
    window = state.live.window if state.live else ()
    if state.alarm is not None or not window:
        return None
    low, high = min(point.low for point in window), max(point.high for point in window)
    left = (condition.change - (high - low)) / 2
    return Calm(low - left, high + left) if left > 0 else None

"""`rate`: the value changes too fast."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from readings.alarms.conditions.episodes import follow
from readings.alarms.conditions.states import Calm, Event, Lane, Point, Run, Sample, State, Verdict, seconds

# Values closer together than this part of `per` share a point of the window, so that a window has at most about twice
# as many points. A value may therefore count for up to this part of `per` too long.
PARTS = 64
# The fields of a Point: tuples, because most points are left out again, and a struct takes longer to make.
Fields = tuple[datetime, datetime, float, float]


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
        points = [msgspec.structs.astuple(point) for point in with_value(window, sample, condition.per)]
        lane = Lane(window=extremes(points))
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


def extremes(points: Sequence[Fields]) -> tuple[Point, ...]:
    """The points that can still decide: those with a value above or below every later one.

    Points leave the window by their times, so the later ones outlast the others. Usually only a few points decide.
    """
    kept: list[Point] = []
    low, high = math.inf, -math.inf
    for point in reversed(points):
        if point[2] < low or point[3] > high:
            kept.append(Point(*point))
            low, high = min(low, point[2]), max(high, point[3])
    kept.reverse()
    return tuple(kept)


def uneventful(condition: Rate, state: State, run: Run) -> State | None:
    """The state after a run without events, the same as from `judge`; None if there may be one."""
    window = list(state.live.window) if state.live else []
    low, high = run.low, run.high
    for point in window:
        low, high = min(low, point.low), max(high, point.high)
    if state.alarm is not None or high - low > condition.change:
        return None
    oldest = run.times[-1] - seconds(condition.per)
    last = window.pop() if window else None
    points: list[Fields] = [msgspec.structs.astuple(point) for point in window]
    points += points_of(run, last, seconds(condition.per / PARTS))
    return State(Lane(window=extremes([point for point in points if point[1] >= oldest])), state.late, None, state.past)


def points_of(run: Run, last: Point | None, shortest: timedelta) -> list[Fields]:
    """The points of these values. `last`: the point before them, which the first values may join.

    A value that is `shortest` or more after the beginning of a point begins the next one.
    """
    if last is None:
        first_at = last_at = run.times[0]
        low = high = run.values[0]
    else:
        first_at, last_at, low, high = last.first_at, last.last_at, last.low, last.high
    points, ends_at = list[Fields](), first_at + shortest
    for at, value in zip(run.times, run.values, strict=True):
        if at >= ends_at:
            points.append((first_at, last_at, low, high))
            first_at, ends_at = at, at + shortest
            low = high = value
        elif value < low:
            low = value
        elif value > high:
            high = value
        last_at = at
    points.append((first_at, last_at, low, high))
    return points


def calm(condition: Rate, state: State) -> Calm | None:
    """Which values bring no event; None: any may bring one. Shares the change that is left between both directions."""
    window = state.live.window if state.live else ()
    if state.alarm is not None or not window:
        return None
    low, high = min(point.low for point in window), max(point.high for point in window)
    left = (condition.change - (high - low)) / 2
    return Calm(low - left, high + left) if left > 0 else None

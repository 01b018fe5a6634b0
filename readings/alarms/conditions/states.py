"""What the conditions of all kinds share: the samples they read, the state they keep, and the events they return.

`gc=False`: a step makes several of these for each device, and the garbage collector need not look at them, because they
cannot form cycles.
"""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec


class Sample(msgspec.Struct, frozen=True, gc=False):
    """A value of a rule's metric, in the order of the log. `at`: when it was measured.

    `late`: a newer value of this metric was in the log before it.
    """

    at: datetime
    value: float
    late: bool = False


class Run(msgspec.Struct, frozen=True, gc=False):
    """Values of a metric in the order of the log and of their times, none of them late. At least one."""

    times: Sequence[datetime]
    values: Sequence[float]
    low: float
    high: float


class Calm(msgspec.Struct, frozen=True, gc=False):
    """What surely brings no event: values in `[low, high]` with times before `until`; None: any time.

    Holds for any number of such values of which none is late. Says nothing about other values.
    """

    low: float
    high: float
    until: datetime | None = None


class Opened(msgspec.Struct, frozen=True):
    """An alarm opens: the condition began to hold at `began_at`, and had held long enough at `opened_at`."""

    began_at: datetime
    opened_at: datetime
    value: float | None


class Resolved(msgspec.Struct, frozen=True):
    resolved_at: datetime


Event = Opened | Resolved


class Point(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The lowest and highest value between two times, in the window of `rate`."""

    first_at: datetime
    last_at: datetime
    low: float
    high: float


class Lane(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One series of values in the order of their times.

    `since`: the time from which the condition has held without interruption. `last_at`: the newest time, in the lane
    of late values only. `anchor`: the value that `stuck` compares with. `window`: the recent values of `rate`.
    """

    since: datetime | None = None
    last_at: datetime | None = None
    anchor: float | None = None
    window: tuple[Point, ...] = ()


class OpenAlarm(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The alarm that is open. `held_at`: the newest time at which the condition held.

    `clear_since`: the time from which it has been clear without interruption. `worst`: the value that was `excess`
    beyond the bound, which no other value of this alarm has exceeded.
    """

    began_at: datetime
    held_at: datetime
    worst: float
    excess: float
    clear_since: datetime | None = None


class State(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a rule knows of a device between two readings.

    Values that arrive in the order of their times form the lane `live`; late values form the lane `late`, so that a
    backlog neither interrupts nor prolongs what current values show. `past`: begin and end of the latest alarms, at
    most PAST_MAX, the newest last.
    """

    live: Lane | None = None
    late: Lane | None = None
    alarm: OpenAlarm | None = None
    past: tuple[tuple[datetime, datetime], ...] = ()


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """What one value means. `holds`: the condition holds; `ripe`: it has held long enough, from `since`.

    `clear`: the value counts towards the end of an alarm. Neither `holds` nor `clear`: the value is within the bound,
    but not by the margin.
    """

    holds: bool = False
    clear: bool = False
    ripe: bool = False
    since: datetime | None = None
    excess: float = 0.0


IDLE = State()
ALWAYS_CALM = Calm(-math.inf, math.inf)
PAST_MAX = 10


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)

"""Judges values by the condition of a rule, whatever its kind."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from readings.alarms.conditions import rate, stuck, threshold
from readings.alarms.conditions.states import ALWAYS_CALM, Calm, Event, Run, Sample, State
from readings.alarms.parameters import Condition

decode_state = msgspec.json.Decoder(State).decode
encode_state = msgspec.json.Encoder().encode


def judge(condition: Condition, state: State, samples: Sequence[Sample], *, now: datetime) -> tuple[State, list[Event]]:
    """The state after these values, in the order of the log, and the events. Not for silences."""
    match condition:
        case threshold.Threshold():
            return threshold.judge(condition, state, samples, now)
        case stuck.Stuck():
            return stuck.judge(condition, state, samples, now)
        case rate.Rate():
            return rate.judge(condition, state, samples, now)
    raise TypeError(f"{type(condition).__name__} judges no values")


def uneventful(condition: Condition, state: State, run: Run) -> State | None:
    """The state that `judge` returns for these values, in a tenth of the time; None: there may be an event."""
    match condition:
        case threshold.Threshold():
            return threshold.uneventful(condition, state, run)
        case stuck.Stuck():
            return stuck.uneventful(condition, state, run)
        case rate.Rate():
            return rate.uneventful(condition, state, run)
    raise TypeError(f"{type(condition).__name__} judges no values")


def calm(condition: Condition, state: State) -> Calm | None:
    """Which further values surely bring no event; None: any may bring one."""
    match condition:
        case threshold.Threshold():
            return threshold.calm(condition, state)
        case stuck.Stuck():
            return stuck.calm(condition, state)
        case rate.Rate():
            return rate.calm(condition, state)
    return ALWAYS_CALM  # the end of a silence is not found by values

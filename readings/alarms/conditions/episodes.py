"""Follows the values of a device and decides when an alarm opens and when it is resolved, for every kind but silence.

Each value is judged once, in the order of the log and by its own time. The outcome depends on that order alone, not on
how the log is divided into calls, nor on when they are made.
"""

from collections.abc import Callable, Iterable

import msgspec

from readings.alarms.conditions.states import (
    PAST_MAX,
    Event,
    Lane,
    OpenAlarm,
    Opened,
    Resolved,
    Sample,
    State,
    Verdict,
    seconds,
)

# Takes a lane (None: it has no values that matter) and the next value; returns the new lane and the verdict.
Observe = Callable[[Lane | None, Sample], tuple[Lane | None, Verdict]]


def follow(state: State, samples: Iterable[Sample], observe: Observe, *, clear_for: float) -> tuple[State, list[Event]]:
    """The state after these values, and the events in order. `clear_for`: seconds until a clear value resolves."""
    live, late, alarm, past = state.live, state.late, state.alarm, state.past
    events: list[Event] = []
    for sample in samples:
        if sample.late:
            if any(began_at <= sample.at < ended_at for began_at, ended_at in past):
                continue  # an earlier alarm covers this time, and must not be raised again
            if late is not None and late.last_at is not None and sample.at < late.last_at:
                late = None  # another backlog begins
            late, verdict = observe(late, sample)
            if late is not None:
                late = msgspec.structs.replace(late, last_at=sample.at)
        else:
            live, verdict = observe(live, sample)
        if alarm is None:
            if verdict.ripe:
                assert verdict.since is not None
                alarm = OpenAlarm(verdict.since, sample.at, sample.value, verdict.excess)
                events.append(Opened(alarm.began_at, sample.at, sample.value))
        else:
            alarm = continued(alarm, sample, verdict)
            if alarm.clear_since is not None and sample.at - alarm.clear_since >= seconds(clear_for) and verdict.clear:
                events.append(Resolved(sample.at))
                past = (*past, (alarm.began_at, sample.at))[-PAST_MAX:]
                alarm = None
    return State(live, late, alarm, past), events


def continued(alarm: OpenAlarm, sample: Sample, verdict: Verdict) -> OpenAlarm:
    """The open alarm after one more value. A value from before the alarm, or before it last held, ends nothing."""
    if sample.at < alarm.began_at:
        return alarm
    clear_since = alarm.clear_since
    if verdict.holds:
        if clear_since is not None and sample.at >= clear_since:
            clear_since = None
        worse = verdict.excess > alarm.excess
        return OpenAlarm(
            alarm.began_at,
            max(alarm.held_at, sample.at),
            sample.value if worse else alarm.worst,
            verdict.excess if worse else alarm.excess,
            clear_since,
        )
    if sample.at < alarm.held_at:
        return alarm
    if verdict.clear:
        clear_since = clear_since or sample.at
    elif clear_since is not None and sample.at >= clear_since:
        clear_since = None
    if clear_since is alarm.clear_since:
        return alarm
    return msgspec.structs.replace(alarm, clear_since=clear_since)

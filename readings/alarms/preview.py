"""What a rule would have done in a window of the past: the conditions of the evaluation, over stored readings."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.conf import settings

from devices.cpu_pool import Pauses
from devices.models import Device, DeviceState
from devices.status import OFFLINE_AFTER_INTERVALS
from devices.times import rfc3339
from readings.alarms.conditions import silence
from readings.alarms.conditions.silence import Heard, Silence, Silent
from readings.alarms.conditions.states import IDLE, Event, Opened, Sample, State
from readings.alarms.documents import time_or_none
from readings.alarms.evaluation.judging import judge
from readings.alarms.evaluation.samples import Column
from readings.alarms.parameters import Condition
from readings.log import reader
from readings.log.reader import Window

# Bounds of one preview. Beyond them it is truncated.
PREVIEW_SECONDS = 5.0
PREVIEW_READINGS = 200_000
PREVIEW_ALARMS = 1_000

PAGE_DEVICES = 500
# Values judged between two pauses for other threads.
CHUNK = 200


class PreviewedAlarm(msgspec.Struct):
    """An alarm as it would have been. `resolved_at` None: it would still be open at the end of the window."""

    device_id: str
    metric: str | None
    began_at: datetime
    opened_at: datetime
    value: float | None
    worst: float | None
    resolved_at: datetime | None = None


class Preview(msgspec.Struct):
    """`devices`: how many were looked at. `truncated`: a bound was reached, so that there may be more alarms."""

    devices: int = 0
    alarms: list[PreviewedAlarm] = []
    truncated: bool = False


class Budget:
    """What is left of the bounds."""

    def __init__(self) -> None:
        self.until = time.monotonic() + PREVIEW_SECONDS
        self.readings = PREVIEW_READINGS
        self.pauses = Pauses()

    @property
    def is_spent(self) -> bool:
        return self.readings <= 0 or time.monotonic() >= self.until


def preview(
    condition: Condition,
    device_ids: Sequence[str],
    *,
    tags: Sequence[str] = (),
    start: datetime,
    end: datetime,
    now: datetime,
) -> Preview:
    """The alarms that the rule would have opened in `[start, end)`, had it been made at `start`.

    Judges the readings by their own times in the order of the log, without what came before. Of a silence it takes
    times of measurement for those of receipt, and knows nothing of times in which the server was away.
    """
    end = min(end, now)
    found = Preview()
    budget = Budget()
    for device in chosen_devices(condition, device_ids, tags):
        if budget.is_spent or len(found.alarms) >= PREVIEW_ALARMS:
            found.truncated = True
            break
        found.devices += 1
        if isinstance(condition, Silence):
            events = silences(condition, device, start=start, end=end, budget=budget)
            found.alarms += alarms_of(device.device_id, condition.metric, events)
        else:
            found.alarms += judged(condition, device, start=start, end=end, budget=budget)
    if budget.readings < 0 or len(found.alarms) > PREVIEW_ALARMS:
        found.truncated = True
        del found.alarms[PREVIEW_ALARMS:]
    return found


def chosen_devices(condition: Condition, device_ids: Sequence[str], tags: Sequence[str]) -> Iterator[Device]:
    """The active devices that the rule applies to and that have reported, in the order of their ids.

    `tags`: those that have all of these tags today.
    """
    states = DeviceState.objects.filter(device__is_active=True, last_seq__gt=0)
    if condition.metric is not None:
        states = states.filter(latest__contains=f'"{condition.metric}":')
    if device_ids:
        states = states.filter(device_id__in=device_ids)
    after = ""
    while page := list(
        Device.objects.filter(state__in=states, device_id__gt=after).tagged(tags).order_by("device_id")[:PAGE_DEVICES]
    ):
        yield from page
        after = page[-1].device_id


def judged(
    condition: Condition, device: Device, *, start: datetime, end: datetime, budget: Budget
) -> list[PreviewedAlarm]:
    samples = samples_of(device, str(condition.metric), start=start, end=end, budget=budget)
    state: State = IDLE
    alarms: list[PreviewedAlarm] = []
    for first in range(0, len(samples), CHUNK):
        for sample in samples[first : first + CHUNK]:
            state, events = judge(condition, state, [sample], now=end)
            alarms += alarms_of(device.device_id, condition.metric, events, continued=alarms)
            if state.alarm is not None:
                alarms[-1].worst = state.alarm.worst
        budget.pauses.pause()
    return alarms


def alarms_of(
    device_id: str, metric: str | None, events: Sequence[Event], *, continued: Sequence[PreviewedAlarm] = ()
) -> list[PreviewedAlarm]:
    """The alarms that these events open. The first event may resolve the last alarm of `continued`."""
    opened: list[PreviewedAlarm] = []
    for event in events:
        if isinstance(event, Opened):
            value = event.value
            opened.append(PreviewedAlarm(device_id, metric, event.began_at, event.opened_at, value, value))
        else:
            (opened or continued)[-1].resolved_at = event.resolved_at
    return opened


def samples_of(device: Device, metric: str, *, start: datetime, end: datetime, budget: Budget) -> list[Sample]:
    """The values of the metric in the window, in the order of the log."""
    window = Window(device.device_id, start, end)
    found = reader.values(window, metric, limit=budget.readings + 1)
    budget.readings -= len(found)
    column = Column()
    for seq, at, value in sorted(found):
        column.add(seq, at, value)
    return column.samples()


def silences(condition: Silence, device: Device, *, start: datetime, end: datetime, budget: Budget) -> list[Event]:
    interval = device.report_interval or settings.DEFAULT_REPORT_INTERVAL
    allowed = interval * OFFLINE_AFTER_INTERVALS if condition.seconds is None else condition.seconds
    metrics = None if condition.metric is None else [condition.metric]
    before = reader.times(Window(device.device_id, None, start, metrics), limit=1, descending=True)
    heard_at = before[0] if before else None
    received = reader.times(Window(device.device_id, start, end, metrics), limit=budget.readings + 1)
    budget.readings -= len(received)
    state, events = Silent(), list[Event]()
    # Until just before each receipt: a device that is heard from as the time ends was not silent for too long.
    for at, until in [*((at, at - timedelta(microseconds=1)) for at in received), (end, end)]:
        state, more = silence.judge(
            state,
            Heard(at=heard_at, listening_since=heard_at or start, listening_until=until),
            until,
            allowed_seconds=allowed,
            judged_since=start,
        )
        events += more
        heard_at = at
    return events


def previewed_document(alarm: PreviewedAlarm) -> dict[str, Any]:
    """An alarm of a preview as the API returns it."""
    return {
        "device_id": alarm.device_id,
        "metric": alarm.metric,
        "state": "open" if alarm.resolved_at is None else "resolved",
        "began_at": rfc3339(alarm.began_at),
        "opened_at": rfc3339(alarm.opened_at),
        "value": alarm.value,
        "worst": alarm.worst,
        "resolved_at": time_or_none(alarm.resolved_at),
    }

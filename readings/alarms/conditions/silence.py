"""`silence`: nothing was received for too long, although the server could have received it."""

from datetime import datetime

import msgspec

from readings.alarms.conditions.states import Event, Opened, Resolved, seconds

# As `devices.status.FUTURE_TOLERANCE`.
WRONG_CLOCK_SECONDS = 300


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds` None: when the device counts as offline. `metric` None: silence of every metric."""

    seconds: float | None = None
    metric: str | None = None


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """When something was received from a device, and when the server could receive.

    `at`: the latest receipt; None: never. `listening_since`: the end of the last gap in which no process received;
    `listening_until`: until when one surely did. All by the server's clock. `said_offline_at`: when the device said
    that it is offline, if a rule without `seconds` follows that; None: it did not, or was heard since.
    """

    at: datetime | None
    listening_since: datetime
    listening_until: datetime
    said_offline_at: datetime | None = None


class Silent(msgspec.Struct, frozen=True, omit_defaults=True):
    """`since`: the receipt after which the open alarm's silence began; None: no alarm is open."""

    since: datetime | None = None


def judge(
    state: Silent, heard: Heard, now: datetime, *, allowed_seconds: float, judged_since: datetime
) -> tuple[Silent, list[Event]]:
    """`allowed_seconds`: how long the device may be silent. `judged_since`: when the rule began to judge.

    An alarm is not dated before `judged_since`, so that a rule that is made while a device is silent opens at once. A
    receipt more than 5 min after `listening_until` was dated by a wrong clock; then silence is counted from
    `listening_since`.
    """
    events: list[Event] = []
    if heard.at is None:
        return state, events
    if state.since is not None:
        if heard.at == state.since:
            return state, events
        events.append(Resolved(heard.at))
    counted_from = max(heard.at, heard.listening_since)
    if heard.at > heard.listening_until + seconds(WRONG_CLOCK_SECONDS):
        counted_from = heard.listening_since
    silent_at = counted_from + seconds(allowed_seconds)
    if heard.said_offline_at is not None:
        silent_at = min(silent_at, heard.said_offline_at)
    if silent_at > min(now, heard.listening_until):
        return Silent(), events
    events.append(Opened(heard.at, max(silent_at, min(judged_since, now)), None))
    return Silent(heard.at), events

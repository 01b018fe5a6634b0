"""What the evaluation of this process knows about devices and has not stored each time it changed.

The states of `rate` and `stuck`, and when the metric of a `silence` was last read, change with nearly every reading.
They are stored with the position up to which they are true (`EvaluationState.judged_seq`), at the latest after
UNSTORED_READINGS. After a restart, or if another process has evaluated meanwhile, they are judged from there again.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from readings.alarms.conditions.rate import Rate
from readings.alarms.conditions.silence import Silence
from readings.alarms.conditions.states import IDLE, State
from readings.alarms.conditions.stuck import Stuck
from readings.alarms.parameters import Condition

# Readings of a device that a stored state may lack, and the time after which it is stored in any case.
UNSTORED_READINGS = 32
UNSTORED_FOR = timedelta(hours=6)
# When a metric was last read may be stored this part of the rule's seconds too late, and at most so long.
UNSTORED_PART = 20
UNHEARD_MAX = timedelta(minutes=10)
# Devices that are remembered. Beyond that, all are forgotten and loaded again.
DEVICES_MAX = 100_000

# A rule and a device.
Pair = tuple[int, str]


class Known(msgspec.Struct, frozen=True, gc=False):
    """What a rule knows of a device. `after_seq`, `heard_at`: as in `EvaluationState`.

    `judged_seq`: up to where the stored state has judged the log; None: as far as the device's position. `stored_at`:
    when this process stored it; None: it did not. `stored_heard_at`: the `heard_at` that is stored.
    """

    after_seq: int
    state: State
    heard_at: datetime | None
    judged_seq: int | None
    stored_at: datetime | None = None

    @property
    def says_nothing(self) -> bool:
        """Whether it only says where the rule began."""
        return self.heard_at is None and self.state == IDLE


class Remembered(msgspec.Struct, gc=False):
    """A device: what the rules know of it, by the id of the rule, after its readings up to `until`."""

    until: int
    known: dict[int, Known]


class Memory:
    """Empty at the start of a process, and after each change of the rules. `silent`: open alarms of silences."""

    def __init__(self) -> None:
        self.version: int | None = None
        self.devices: dict[str, Remembered] = {}
        self.silent: set[Pair] = set()

    def follow(self, version: int) -> None:
        """Forgets everything if the rules have changed, because a change of rules writes states."""
        if self.version != version:
            self.version = version
            self.devices.clear()

    def of(self, device_id: str, position: int) -> dict[int, Known] | None:
        """What is known after the readings up to `position`. None: it has to be loaded."""
        remembered = self.devices.get(device_id)
        return remembered.known if remembered is not None and remembered.until == position else None

    def learn(self, device_id: str, until: int, known: dict[int, Known]) -> None:
        if len(self.devices) >= DEVICES_MAX and device_id not in self.devices:
            self.devices.clear()
        self.devices[device_id] = Remembered(until, known)

    def forget(self, device_ids: Iterable[str]) -> None:
        for device_id in device_ids:
            self.devices.pop(device_id, None)


def is_kept_back(condition: Condition) -> bool:
    """Whether the state of such a rule is stored only now and then."""
    return isinstance(condition, Rate | Stuck)


def must_store(before: Known | None, new: State, *, until: int, late: bool, now: datetime) -> bool:
    """Whether this state of a `rate` or `stuck` has to be stored now. `late`: of values of which some were late.

    States about alarms and late values are stored at once, so that judging again from the stored state opens and
    resolves nothing, and takes no value for late.
    """
    if before is None or before.judged_seq is None or before.stored_at is None:
        return True
    if late or new.alarm is not None or before.state.alarm is not None:
        return True
    return until - before.judged_seq > UNSTORED_READINGS or abs(now - before.stored_at) > UNSTORED_FOR


def granularity(condition: Silence) -> timedelta:
    """How much later than stored a metric may have been read."""
    seconds = 300.0 if condition.seconds is None else condition.seconds
    return min(timedelta(seconds=seconds / UNSTORED_PART), UNHEARD_MAX)


def must_store_hearing(before: Known | None, condition: Silence, *, now: datetime) -> bool:
    """Whether it has to be stored now that the metric was read. For devices without an open alarm of the rule."""
    if before is None or before.stored_at is None:
        return True
    return abs(now - before.stored_at) >= granularity(condition)

"""The time that retention goes by: the clock's, unless that has jumped, because what a wrong clock deletes is lost.

Each round of maintenance compares the clock with the time that should have passed since the round before. Where a clock
differs by more than TOLERANCE, retention goes on from the time it trusted before, and adopts the clock's time once that
has gone on steadily for HOLD: docs/decisions/0034-delay-retention-for-a-day-after-a-clock-jump.md
"""

import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import Max

from devices.models import DeviceState
from readings.models import MaintenanceRound

# How far the clock may differ from the time that should have passed.
TOLERANCE = timedelta(hours=1)
# How long a clock that differs by more has to go on steadily before retention follows it.
HOLD = timedelta(days=1)
# Between two rounds on different boots of which nothing tells how much time passed: how long still counts as steady.
LONGEST_PAUSE = timedelta(days=7)
# Within TOLERANCE the trusted time approaches the clock by this part of the time that passed, so that many small steps
# of a clock cannot add up to a large one unnoticed.
APPROACH = 1 / 24

ZERO = timedelta(0)
# Where the kernel has no boot id: uptimes are then compared within this process alone.
PROCESS = f"process:{uuid.uuid4()}"


class Uptime(NamedTuple):
    """Seconds that nobody can set, and what they count from: the same `boot`, the same origin."""

    boot: str
    seconds: float


class TrustedTime(NamedTuple):
    """What retention may go by at most. `held` is how long the clock has differed from it, None: it does not."""

    at: datetime
    held: timedelta | None

    def limit(self, now: datetime) -> datetime:
        """`now`, or the trusted time if that is earlier: then less is deleted."""
        return min(now, self.at)


def read_uptime() -> Uptime:
    """Linux's, which all processes of a machine share and which counts while it sleeps; elsewhere this process's."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Uptime(boot, time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return Uptime(PROCESS, time.monotonic())


def trusted_time(last: MaintenanceRound | None, *, now: datetime, uptime: Uptime) -> TrustedTime:
    """What retention may go by, where the clock says `now` and `last` was the newest round."""
    if last is None or last.trusted_at is None:
        return first_trusted(last, now=now)
    step = now - last.finished_at
    held_before = last.held
    if last.boot == uptime.boot and last.uptime is not None and uptime.seconds >= last.uptime:
        passed = lived = timedelta(seconds=uptime.seconds - last.uptime)
        steady = abs(step - passed) <= TOLERANCE
    elif ZERO <= step <= TOLERANCE:
        passed = lived = step
        steady = True
    else:
        # Another boot or machine, and a long time or a jump: nothing tells which.
        passed, lived = ZERO, step
        steady = ZERO < step <= LONGEST_PAUSE
    expected = last.trusted_at + passed
    ahead = now - expected
    if abs(ahead) <= TOLERANCE:
        return TrustedTime(expected + max(-passed * APPROACH, min(ahead, passed * APPROACH)), None)
    held = held_before + lived if held_before is not None and steady else ZERO
    return TrustedTime(now, None) if held >= HOLD else TrustedTime(expected, held)


def first_trusted(last: MaintenanceRound | None, *, now: datetime) -> TrustedTime:
    """Where no round has left a trusted time: by the newest round or receipt of a reading that is not in the future."""
    receipt = DeviceState.objects.filter(last_seen_at__lte=now).aggregate(newest=Max("last_seen_at"))["newest"]
    known = [moment for moment in (receipt, last.finished_at if last else None) if moment is not None and moment <= now]
    newest = max(known, default=now)
    return TrustedTime(now, None) if now - newest <= TOLERANCE else TrustedTime(newest, ZERO)


def as_noted(trusted: TrustedTime, uptime: Uptime, *, seconds: float) -> dict[str, Any]:
    """The columns of the round that began with these and took `seconds`."""
    return {
        "boot": uptime.boot,
        "uptime": uptime.seconds + seconds,
        "trusted_at": trusted.at + timedelta(seconds=seconds),
        "held_seconds": None if trusted.held is None else trusted.held.total_seconds() + seconds,
    }


def description(last: MaintenanceRound) -> str:
    """What an operator has to know of a clock that is held back; "" where it is trusted."""
    if last.held is None or last.trusted_at is None:
        return ""
    ahead = last.clock_ahead
    apart = timedelta(seconds=round(abs(ahead).total_seconds()))
    left = timedelta(seconds=round(max(HOLD - last.held, ZERO).total_seconds()))
    return (
        f"The clock is {apart} {'ahead of' if ahead > ZERO else 'behind'} the time that should have passed. "
        f"Until it has gone on steadily for {left} more, retention goes by {last.trusted_at:%Y-%m-%d %H:%M} UTC."
    )

"""The trusted time for retention: the clock, unless it jumped, because readings deleted by a wrong clock are lost.

Each round of maintenance compares the clock with the time that should have passed since the previous round. If they
differ by more than TOLERANCE, retention continues from the time it trusted before, and adopts the time of the clock
once the clock has run steadily for HOLD: docs/decisions/0034-delay-retention-for-a-day-after-a-clock-jump.md
"""

import time
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from django.db.models import Max

from devices.models import DeviceState
from readings.models import MaintenanceRound

# Maximum difference between the clock and the time that should have passed.
TOLERANCE = timedelta(hours=1)
# How long a clock that differs by more must run steadily before retention uses its time.
HOLD = timedelta(days=1)
# Longest step of the clock that still counts as steady between two rounds on different boots, where the real time that
# passed is unknown.
LONGEST_PAUSE = timedelta(days=7)
# Within TOLERANCE the trusted time approaches the clock by at most this fraction of the time that passed, so that many
# small steps of the clock cannot add up to a large one unnoticed.
APPROACH = 1 / 24

ZERO = timedelta(0)
# Used if the kernel has no boot id; uptimes are then comparable only within this process.
PROCESS = f"process:{uuid.uuid4()}"


class Uptime(NamedTuple):
    """Seconds of a clock that cannot be set. `boot` identifies its origin; only equal ones are comparable."""

    boot: str
    seconds: float


class TrustedTime(NamedTuple):
    """The latest time that retention may use. `held`: how long the clock has differed from it; None: it does not.

    `jump`: how far it has jumped to the time of the clock, which had differed. Negative: back.
    """

    at: datetime
    held: timedelta | None
    jump: timedelta = ZERO

    def limit(self, now: datetime) -> datetime:
        """The earlier of `now` and the trusted time; the earlier one deletes less."""
        return min(now, self.at)

    def latest(self, now: datetime) -> datetime:
        """The later of `now` and the trusted time: what happened until now happened before it."""
        return max(now, self.at)


def read_uptime() -> Uptime:
    """On Linux the uptime of the machine, including suspend; elsewhere the monotonic clock of this process."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return Uptime(boot, time.clock_gettime(time.CLOCK_BOOTTIME))
    except (OSError, AttributeError):
        return Uptime(PROCESS, time.monotonic())


def trusted_time(last: MaintenanceRound | None, *, now: datetime, uptime: Uptime) -> TrustedTime:
    """The time that retention may use, given the clock (`now`) and the newest round (`last`)."""
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
        # Another boot or machine: a long time passed or the clock jumped, which cannot be distinguished.
        passed, lived = ZERO, step
        steady = ZERO < step <= LONGEST_PAUSE
    expected = last.trusted_at + passed
    ahead = now - expected
    if abs(ahead) <= TOLERANCE:
        return TrustedTime(expected + max(-passed * APPROACH, min(ahead, passed * APPROACH)), None)
    held = held_before + lived if held_before is not None and steady else ZERO
    return TrustedTime(now, None, jump=ahead) if held >= HOLD else TrustedTime(expected, held)


def first_trusted(last: MaintenanceRound | None, *, now: datetime) -> TrustedTime:
    """The trusted time if no round has stored one: from the newest round or receipt that is not in the future."""
    receipt = DeviceState.objects.filter(last_seen_at__lte=now).aggregate(newest=Max("last_seen_at"))["newest"]
    known = [moment for moment in (receipt, last.finished_at if last else None) if moment is not None and moment <= now]
    newest = max(known, default=now)
    return TrustedTime(now, None) if now - newest <= TOLERANCE else TrustedTime(newest, ZERO)


def as_noted(trusted: TrustedTime, uptime: Uptime, *, seconds: float) -> dict[str, Any]:
    """The fields of a MaintenanceRound that began with this trusted time and uptime and took `seconds`."""
    return {
        "boot": uptime.boot,
        "uptime": uptime.seconds + seconds,
        "trusted_at": trusted.at + timedelta(seconds=seconds),
        "held_seconds": None if trusted.held is None else trusted.held.total_seconds() + seconds,
    }


def description(last: MaintenanceRound) -> str:
    """The message for operators about a clock that retention does not trust; "" if it is trusted."""
    if last.held is None or last.trusted_at is None:
        return ""
    ahead = last.clock_ahead
    apart = timedelta(seconds=round(abs(ahead).total_seconds()))
    left = timedelta(seconds=round(max(HOLD - last.held, ZERO).total_seconds()))
    return (
        f"The clock is {apart} {'ahead of' if ahead > ZERO else 'behind'} the time that should have passed. "
        f"Until it has run steadily for another {left}, retention uses the time {last.trusted_at:%Y-%m-%d %H:%M} UTC."
    )

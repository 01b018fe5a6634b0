"""Maintenance: rolls up new readings, seals old ones and deletes expired ones, in rounds; one process at a time."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from devices.database.work_kinds import Work, current_work
from devices.plurals import counted
from readings import instruments
from readings.catalogue.names import make_room
from readings.statistics.tiers import HOURS, MINUTES
from readings.upkeep.change_log import trim_changes
from readings.upkeep.clock import Uptime, as_noted, description, read_uptime, trusted_time
from readings.upkeep.failures import REPEAT_SECONDS, FailureLog, TooManyFailures
from readings.upkeep.locks import Busy, exclusively
from readings.upkeep.passes import Rotation
from readings.upkeep.retention import Expiry, expire
from readings.upkeep.rollups import SeqRange, catch_up
from readings.upkeep.rounds import last_round, note_jump, note_round
from readings.upkeep.sealing import marks
from readings.upkeep.sealing.candidates import Sealable
from readings.upkeep.sealing.seal import seal
from readings.upkeep.sealing.seal_rollups import SealableRollups, seal_rollups

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
# Retention needs no shorter interval, because its border moves by whole hours.
RETENTION_INTERVAL_SECONDS = 600
# Marks of receipt and their ends are at most one a day for each device, and sealing has days.
SEALING_INTERVAL_SECONDS = 600
# Part of the time in which the loop seals: ingest needs the same disk, and on SQLite the same lock.
SEALING_SHARE = 0.5
# In the loop: time limit of each part of a round (hours, minutes, sealing, retention). The next round does the rest.
PART_SECONDS = 20.0
# Sealing has four parts (ids, readings, rollups by hour and by minute), which share its time, because new readings are
# not rolled up meanwhile. After an upgrade a log of many millions is sealed for minutes.
SEALING_PARTS = 4
# Pause after an unfinished round: long enough for `erase_device`, which polls for the lock, to get it.
TURN_SECONDS = 1.0
# A round with fewer rolled-up readings and no deletion is logged with level DEBUG instead of INFO.
NOTABLE_READINGS = 50_000
# Maximum number of failing devices in one part of a round; with one more, the rest of this part is skipped.
FAILED_DEVICES_MAX = 100
ROUND_FAILED = "A round of maintenance failed. The next one tries again"
# What failed, by the work that failed.
PARTS = {SeqRange: "Rolling up", Sealable: "Sealing", SealableRollups: "Sealing statistics", Expiry: "Retention"}

Progress = Callable[[int], None]


class Round(msgspec.Struct):
    """The result of one round of maintenance: numbers of readings, number of devices that failed, and seconds.

    `unfinished`: a part reached its time limit, and more work is left.
    """

    rolled_up: int = 0
    sealed: int = 0
    deleted: int = 0
    failed: int = 0
    seconds: float = 0.0
    unfinished: bool = False

    def __str__(self) -> str:
        rate = f" ({self.rolled_up / self.seconds:,.0f}/s)" if self.rolled_up and self.seconds else ""
        failed = f", {counted(self.failed, 'device', 'devices')} failed" if self.failed else ""
        rolled_up = counted(self.rolled_up, "reading", "readings")
        sealed = f", {self.sealed:,} sealed" if self.sealed else ""
        return f"{rolled_up} rolled up{rate}{sealed}, {self.deleted:,} deleted{failed}, in {self.seconds:.1f} s."


class Maintainer:
    """State of a process between rounds: the positions at which the parts continue, and the logged failures."""

    def __init__(self) -> None:
        self.tiers = {HOURS: Rotation(), MINUTES: Rotation()}
        self.sealing = Rotation()
        self.sealing_rollups = {HOURS: Rotation(), MINUTES: Rotation()}
        self.sealing_unfinished = False
        self.retention = Rotation()
        self.expiring: Iterator[int] | None = None  # a pass of retention that reached its time limit
        self.failed = 0  # devices that failed in the current part of the round
        self.failures = FailureLog(logger)
        self.clock_reported_at: float | None = None  # when an untrusted clock was last logged, by time.monotonic()

    def device_failed(self, item: SeqRange | Sealable | SealableRollups | Expiry, error: Exception) -> None:
        """Logs and counts the failure of a device. Raises TooManyFailures."""
        part = PARTS[type(item)]
        if isinstance(item, Sealable | SealableRollups):
            instruments.SEALING_FAILURES.inc()
        self.failures.write(f"{part} failed for device {item.device_id}. The next round tries it again", error)
        instruments.FAILED_DEVICES.inc()
        self.failed += 1
        if self.failed > FAILED_DEVICES_MAX:
            failed = counted(self.failed, "device", "devices")
            raise TooManyFailures(f"{part} failed for {failed}, most recently {item.device_id}") from error

    def report_clock(self) -> None:
        """Logs once an hour that retention does not trust the clock, and once when it trusts it again."""
        last = last_round()
        text = description(last) if last else ""
        due = self.clock_reported_at is None or time.monotonic() - self.clock_reported_at >= REPEAT_SECONDS
        if text and due:
            logger.warning(text)
            self.clock_reported_at = time.monotonic()
        elif not text and self.clock_reported_at is not None:
            logger.info("Retention trusts the clock again.")
            self.clock_reported_at = None


def maintain(
    *,
    now: datetime,
    retention: bool = True,
    sealing: bool = True,
    seal_before: datetime | None = None,
    stop: threading.Event | None = None,
    rolled_up: Progress = lambda _: None,
    sealed: Progress = lambda _: None,
    deleted: Progress = lambda _: None,
    maintainer: Maintainer | None = None,
    part_seconds: float | None = None,
    uptime: Uptime | None = None,
) -> Round:
    """Runs one round: rolls up the readings, seals old ones, deletes expired ones. Ends early when `stop` is set.

    Retention and sealing use `now` only as far as `readings.upkeep.clock` trusts it. `uptime` defaults to that of this
    machine. `rolled_up`, `sealed` and `deleted` are called after each step with its number of readings. `seal_before`:
    seals what was noted before this time, instead of SEAL_AFTER_DAYS ago.

    `part_seconds` limits each part, and makes sealing pause between its steps; then every round needs the same
    `maintainer`. A device that fails is logged, counted and left out; the next round tries it again. Raises Busy, and
    DatabaseError if the whole database is concerned; work that was committed before stays done.
    """
    maintainer = maintainer or Maintainer()
    done = Round()
    started = time.monotonic()

    def carry_out(steps: Iterator[int], count: Progress, *, share: float = 1, parts: int = 1) -> bool:
        """Whether the steps ended by themselves, not by `stop` or by the time limit, which is divided by `parts`.

        With a time limit it works in this share of the time, and pauses after each step.
        """
        maintainer.failed = 0
        begun = since = time.monotonic()
        try:
            for step in steps:
                count(step)
                if part_seconds is not None and share < 1:
                    (stop or threading.Event()).wait((time.monotonic() - since) * (1 / share - 1))
                    since = time.monotonic()
                if stop and stop.is_set():
                    return False
                if part_seconds is not None and time.monotonic() - begun > part_seconds / parts:
                    done.unfinished = True
                    return False
        except TooManyFailures as error:
            maintainer.failures.write("A part of maintenance was stopped. The next round tries again", error)
        finally:
            done.failed += maintainer.failed
        return True

    def count_rolled_up(readings: int) -> None:
        done.rolled_up += readings
        rolled_up(readings)

    def count_sealed(readings: int) -> None:
        done.sealed += readings
        sealed(readings)

    def count_deleted(readings: int) -> None:
        done.deleted += readings
        deleted(readings)

    with exclusively("maintenance"):
        uptime = uptime or read_uptime()
        trusted = trusted_time(last_round(), now=now, uptime=uptime)
        if trusted.jump:
            note_jump(trusted, now=now, uptime=uptime)
        for tier, rotation in maintainer.tiers.items():
            steps = catch_up(tier, rotation, failed=maintainer.device_failed)
            carry_out(steps, count_rolled_up if tier is HOURS else lambda _: None)
        if sealing:
            at = trusted.limit(now)
            ended = carry_out(marks.end(now=at), lambda _: None, parts=SEALING_PARTS)
            if settings.SEAL_AFTER_DAYS:
                # A mark of an earlier time, from a clock that was set back, would make new readings old.
                marks.note(now=trusted.latest(now))
                before = seal_before or at - marks.seal_after()
                steps = seal(before=before, now=at, rotation=maintainer.sealing, failed=maintainer.device_failed)
                ended = carry_out(steps, count_sealed, share=SEALING_SHARE, parts=SEALING_PARTS) and ended
                for tier, rotation in maintainer.sealing_rollups.items():
                    steps = seal_rollups(
                        tier, before=before, now=at, rotation=rotation, failed=maintainer.device_failed
                    )
                    ended = carry_out(steps, lambda _: None, share=SEALING_SHARE, parts=SEALING_PARTS) and ended
            maintainer.sealing_unfinished = not ended
        if retention:
            pending = maintainer.expiring or expire(
                now=trusted.limit(now), rotation=maintainer.retention, failed=maintainer.device_failed
            )
            maintainer.expiring = None  # a pass that fails cannot be continued
            if not carry_out(pending, count_deleted):
                maintainer.expiring = pending
            carry_out(trim_changes(), lambda _: None)
            carry_out(make_room(), lambda _: None)
        done.seconds = time.monotonic() - started
        note_round(
            now=now + timedelta(seconds=done.seconds),
            rolled_up=done.rolled_up,
            deleted=done.deleted,
            seconds=done.seconds,
            **as_noted(trusted, uptime, seconds=done.seconds),
        )
        maintainer.report_clock()
    instruments.ROLLED_UP.inc(done.rolled_up)
    instruments.DELETED.inc(done.deleted)
    instruments.MAINTENANCE_SECONDS.set(done.seconds)
    instruments.MAINTAINED.set_to_current_time()
    return done


def sealing_interval() -> float:
    """Seconds between two passes of sealing."""
    return min(SEALING_INTERVAL_SECONDS, marks.seal_after().total_seconds() / 10) or SEALING_INTERVAL_SECONDS


def keep_maintaining(
    stop: threading.Event, *, interval: float = INTERVAL_SECONDS, report: Callable[[Round], None] | None = None
) -> None:
    """Runs rounds until `stop` is set, with a pause of `interval` seconds, or TURN_SECONDS after an unfinished round.

    Any error of a round is logged and counted, and the next round tries again.
    """
    current_work.set(Work.UPKEEP)
    maintainer = Maintainer()
    away = False
    expired_at: float | None = None
    sealed_at: float | None = None
    while not stop.is_set():
        pause = interval
        due = (
            maintainer.expiring is not None
            or expired_at is None
            or time.monotonic() - expired_at >= RETENTION_INTERVAL_SECONDS
        )
        sealing_due = (
            maintainer.sealing_unfinished or sealed_at is None or time.monotonic() - sealed_at >= sealing_interval()
        )
        try:
            done = maintain(
                now=timezone.now(),
                retention=due,
                sealing=sealing_due,
                stop=stop,
                maintainer=maintainer,
                part_seconds=PART_SECONDS,
            )
            if away:
                logger.info("The database answers again; maintenance continues.")
            away = False
            if maintainer.failures.forget(ROUND_FAILED):
                logger.info("A round of maintenance succeeded again.")
            if due and maintainer.expiring is None:
                expired_at = time.monotonic()
            if sealing_due and not maintainer.sealing_unfinished:
                sealed_at = time.monotonic()
            if done.unfinished:
                pause = min(interval, TURN_SECONDS)
            notable = done.rolled_up >= NOTABLE_READINGS or done.sealed >= NOTABLE_READINGS or done.deleted
            logger.log(logging.INFO if notable else logging.DEBUG, "Maintenance: %s", done)
            if report:
                report(done)
        except Busy:
            logger.debug("Another process is maintaining this database.")
        except (OperationalError, InterfaceError) as error:
            instruments.FAILED_ROUNDS.inc()
            if not away:
                logger.warning("Maintenance waits for the database: %s", str(error).strip())
            away = True
        except Exception as error:
            instruments.FAILED_ROUNDS.inc()
            maintainer.failures.write(ROUND_FAILED, error)
        finally:
            with suppress(Exception):  # a connection that cannot be closed is already lost
                connection.close()
        stop.wait(pause)

"""What has to be done now and then: roll up what came in, delete what is too old. Never by two at a time."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from devices.database.work import Work, current_work
from readings import instruments
from readings.statistics.tiers import HOURS, MINUTES
from readings.upkeep.clock import Uptime, as_noted, description, read_uptime, trusted_time
from readings.upkeep.failures import REPEAT_SECONDS, FailureLog, TooManyFailures
from readings.upkeep.locks import Busy, exclusively
from readings.upkeep.passes import Rotation
from readings.upkeep.retention import Expiry, expire
from readings.upkeep.rollups import SeqRange, catch_up
from readings.upkeep.rounds import last_round, note_round

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
# Retention's border moves on by whole hours.
RETENTION_INTERVAL_SECONDS = 600
# In the loop: how long each part of a round (hours, minutes, retention) may take. What it left is the next round's.
PART_SECONDS = 20.0
# Between rounds that follow at once: long enough for `erase_device`, which polls for the lock, to have its turn.
TURN_SECONDS = 1.0
# A round that did less is not worth a line in the log.
NOTABLE_READINGS = 50_000
# Devices that may fail in one part of a round; with one more, the part is given up.
FAILED_DEVICES_MAX = 100
ROUND_FAILED = "A round of maintenance failed, the next one tries again"

Progress = Callable[[int], None]


class Round(msgspec.Struct):
    """What one round of maintenance did: numbers of readings, devices that failed, and seconds.

    `unfinished`: it was ended by its time, and more is left to do.
    """

    rolled_up: int = 0
    deleted: int = 0
    failed: int = 0
    seconds: float = 0.0
    unfinished: bool = False

    def __str__(self) -> str:
        rate = f" ({self.rolled_up / self.seconds:,.0f}/s)" if self.rolled_up and self.seconds else ""
        failed = f", {self.failed:,} devices failed" if self.failed else ""
        return (
            f"{self.rolled_up:,} readings rolled up{rate}, {self.deleted:,} deleted{failed}, in {self.seconds:.1f} s."
        )


class Maintainer:
    """What a process remembers between rounds: where each part goes on, and which failures it has logged."""

    def __init__(self) -> None:
        self.tiers = {HOURS: Rotation(), MINUTES: Rotation()}
        self.retention = Rotation()
        self.expiring: Iterator[int] | None = None  # a pass of retention that had no time to end
        self.failed = 0  # devices, in the part of the round that is under way
        self.failures = FailureLog(logger)
        self.clock_reported_at: float | None = None  # that it is held back, by time.monotonic()

    def device_failed(self, item: SeqRange | Expiry, error: Exception) -> None:
        """Logs and counts it. Raises TooManyFailures."""
        part = "Rolling up" if isinstance(item, SeqRange) else "Retention"
        self.failures.write(f"{part} fails for device {item.device_id}, others go on, it is tried again", error)
        instruments.FAILED_DEVICES.inc()
        self.failed += 1
        if self.failed > FAILED_DEVICES_MAX:
            raise TooManyFailures(f"{part} has failed for {self.failed} devices, the last: {item.device_id}") from error

    def report_clock(self) -> None:
        """Logs a clock that retention does not trust, once an hour, and when it is trusted again."""
        last = last_round()
        text = description(last) if last else ""
        due = self.clock_reported_at is None or time.monotonic() - self.clock_reported_at >= REPEAT_SECONDS
        if text and due:
            logger.warning(text)
            self.clock_reported_at = time.monotonic()
        elif not text and self.clock_reported_at is not None:
            logger.info("Retention goes by the clock again.")
            self.clock_reported_at = None


def maintain(
    *,
    now: datetime,
    retention: bool = True,
    stop: threading.Event | None = None,
    rolled_up: Progress = lambda _: None,
    deleted: Progress = lambda _: None,
    maintainer: Maintainer | None = None,
    part_seconds: float | None = None,
    uptime: Uptime | None = None,
) -> Round:
    """One round: rolls up what there is at its start, then deletes what retention says. Ends early once `stop` is set.

    Retention goes by `now` only as far as `clock` trusts it; `uptime` is this machine's unless it is given.

    `part_seconds` limits each of its three parts; then the same `maintainer` has to be given to each round. A device
    that fails is logged and counted, the others go on, and the next round tries it again.
    Raises Busy, and DatabaseError where the whole database is concerned: what was done before it stays done.
    """
    maintainer = maintainer or Maintainer()
    done = Round()
    started = time.monotonic()

    def carry_out(steps: Iterator[int], count: Progress) -> bool:
        """Whether they ended, rather than being stopped by `stop` or by the time."""
        maintainer.failed = 0
        begun = time.monotonic()
        try:
            for step in steps:
                count(step)
                if stop and stop.is_set():
                    return False
                if part_seconds is not None and time.monotonic() - begun > part_seconds:
                    done.unfinished = True
                    return False
        except TooManyFailures as error:
            maintainer.failures.write("A part of maintenance was given up, the next round tries again", error)
        finally:
            done.failed += maintainer.failed
        return True

    def count_rolled_up(readings: int) -> None:
        done.rolled_up += readings
        rolled_up(readings)

    def count_deleted(readings: int) -> None:
        done.deleted += readings
        deleted(readings)

    with exclusively("maintenance"):
        uptime = uptime or read_uptime()
        trusted = trusted_time(last_round(), now=now, uptime=uptime)
        for tier, rotation in maintainer.tiers.items():
            steps = catch_up(tier, rotation, failed=maintainer.device_failed)
            carry_out(steps, count_rolled_up if tier is HOURS else lambda _: None)
        if retention:
            pending = maintainer.expiring or expire(
                now=trusted.limit(now), rotation=maintainer.retention, failed=maintainer.device_failed
            )
            maintainer.expiring = None  # of a pass that fails nothing is left to go on with
            if not carry_out(pending, count_deleted):
                maintainer.expiring = pending
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


def keep_maintaining(
    stop: threading.Event, *, interval: float = INTERVAL_SECONDS, report: Callable[[Round], None] | None = None
) -> None:
    """Rounds until `stop` is set, `interval` seconds apart; TURN_SECONDS where one had no time to end.

    Whatever a round raises is logged and counted, and the next one tries again.
    """
    current_work.set(Work.UPKEEP)
    maintainer = Maintainer()
    away = False
    expired_at: float | None = None
    while not stop.is_set():
        pause = interval
        due = (
            maintainer.expiring is not None
            or expired_at is None
            or time.monotonic() - expired_at >= RETENTION_INTERVAL_SECONDS
        )
        try:
            done = maintain(
                now=timezone.now(), retention=due, stop=stop, maintainer=maintainer, part_seconds=PART_SECONDS
            )
            if away:
                logger.info("Maintenance goes on.")
            away = False
            if maintainer.failures.forget(ROUND_FAILED):
                logger.info("A round of maintenance has succeeded again.")
            if due and maintainer.expiring is None:
                expired_at = time.monotonic()
            if done.unfinished:
                pause = min(interval, TURN_SECONDS)
            notable = done.rolled_up >= NOTABLE_READINGS or done.deleted
            logger.log(logging.INFO if notable else logging.DEBUG, "Maintenance: %s", done)
            if report:
                report(done)
        except Busy:
            logger.debug("Another process maintains this database.")
        except (OperationalError, InterfaceError) as error:
            instruments.FAILED_ROUNDS.inc()
            if not away:
                logger.warning("Maintenance waits for the database: %s", str(error).strip())
            away = True
        except Exception as error:
            instruments.FAILED_ROUNDS.inc()
            maintainer.failures.write(ROUND_FAILED, error)
        finally:
            with suppress(Exception):  # a connection that cannot be closed is lost already
                connection.close()
        stop.wait(pause)

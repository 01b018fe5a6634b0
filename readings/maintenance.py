"""What has to be done now and then: roll up what came in, delete what is too old. Never by two at a time."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
from django.db import DatabaseError, InterfaceError, connection
from django.utils import timezone

from devices.database import Work, current_work
from readings import instruments
from readings.exclusion import Busy, exclusively
from readings.retention import expire
from readings.rollups import HOURS, MINUTES, STEP_READINGS, Outrun, roll_up
from readings.rounds import note_round

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 10.0
# Retention's border moves on by whole hours.
RETENTION_INTERVAL_SECONDS = 600
# A round that did less is not worth a line in the log.
NOTABLE_READINGS = 50_000

Progress = Callable[[int], None]


class Round(msgspec.Struct):
    """What one round of maintenance did: numbers of readings, and seconds."""

    rolled_up: int = 0
    deleted: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        rate = f" ({self.rolled_up / self.seconds:,.0f}/s)" if self.rolled_up and self.seconds else ""
        return f"{self.rolled_up:,} readings rolled up{rate}, {self.deleted:,} deleted, in {self.seconds:.1f} s."


def maintain(
    *,
    now: datetime,
    retention: bool = True,
    stop: threading.Event | None = None,
    rolled_up: Progress = lambda _: None,
    deleted: Progress = lambda _: None,
) -> Round:
    """One round: rolls up what there is at its start, then deletes what retention says. Ends early once `stop` is set.

    Raises Busy, and DatabaseError: what was done before it stays done.
    """
    stop = stop or threading.Event()
    done = Round()
    started = time.monotonic()
    with exclusively("maintenance"):
        for tier in (HOURS, MINUTES):
            while not stop.is_set():
                step = roll_up(tier)
                if tier is HOURS:
                    done.rolled_up += step
                    rolled_up(step)
                # Less than it could have taken: the rest came in meanwhile, and is the next round's.
                if step < STEP_READINGS[connection.vendor]:
                    break
        if retention:
            for count in expire(now=now):
                done.deleted += count
                deleted(count)
                if stop.is_set():
                    break
        done.seconds = time.monotonic() - started
        note_round(
            now=now + timedelta(seconds=done.seconds),
            rolled_up=done.rolled_up,
            deleted=done.deleted,
            seconds=done.seconds,
        )
    instruments.ROLLED_UP.inc(done.rolled_up)
    instruments.DELETED.inc(done.deleted)
    instruments.MAINTENANCE_SECONDS.set(done.seconds)
    instruments.MAINTAINED.set_to_current_time()
    return done


def keep_maintaining(
    stop: threading.Event, *, interval: float = INTERVAL_SECONDS, report: Callable[[Round], None] | None = None
) -> None:
    """Rounds until `stop` is set, `interval` seconds apart. A database that is away is tried again; so is a lock."""
    current_work.set(Work.UPKEEP)
    away = False
    expired_at: float | None = None
    while not stop.is_set():
        due = expired_at is None or time.monotonic() - expired_at >= RETENTION_INTERVAL_SECONDS
        try:
            done = maintain(now=timezone.now(), retention=due, stop=stop)
        except Busy:
            logger.debug("Another process maintains this database.")
        except Outrun:
            logger.warning("A position was moved by somebody else; this round's step was given up.")
        except (DatabaseError, InterfaceError) as error:
            if not away:
                logger.warning("Maintenance waits for the database: %s", str(error).strip())
            away = True
        else:
            if away:
                logger.info("Maintenance goes on.")
            away = False
            if due:
                expired_at = time.monotonic()
            notable = done.rolled_up >= NOTABLE_READINGS or done.deleted
            logger.log(logging.INFO if notable else logging.DEBUG, "Maintenance: %s", done)
            if report:
                report(done)
        finally:
            connection.close()
        stop.wait(interval)

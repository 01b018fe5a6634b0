"""Runs evaluations in a thread or process until it is stopped."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from devices.database.work_kinds import Work, current_work
from readings.alarms import instruments
from readings.alarms.evaluation.evaluator import Evaluation, Evaluator
from readings.alarms.evaluation.received import Received
from readings.alarms.upkeep.retention import EXPIRY_INTERVAL_SECONDS, expire_alarms
from readings.signals import Appended, readings_recorded
from readings.upkeep.locks import Busy

logger = logging.getLogger(__name__)

# Seconds between two looks for new readings.
LOOK_SECONDS = 1.0
# Shortest pause between two evaluations, however many readings arrive: `erase_device` must get the lock meanwhile.
PAUSE_SECONDS = 0.3
# The pause is this many times the CPU time of the evaluation, but not longer than LOOK_SECONDS; after an evaluation of
# more than MANY_READINGS not longer than LONG_PAUSE_SECONDS, because then ingest goes first. What waits meanwhile is
# more readings of each device, which cost less each.
PAUSE_FACTOR = 4
MANY_READINGS = 10_000
LONG_PAUSE_SECONDS = 5.0
# The part of the time for looking which devices were deactivated or are silent for too long.
LOOK_SHARE = 1 / 100
# In the loop: time limit of an evaluation. The next one continues.
EVALUATION_SECONDS = 5.0
FAILED = "An evaluation of alarms failed. The next one tries again"


class Waker:
    """Wakes the loop of this process when it has stored readings, and hands them over."""

    def __init__(self) -> None:
        self.awake = threading.Event()
        self.received = Received()

    def listen(self) -> None:
        readings_recorded.connect(self.wake, weak=False, dispatch_uid="alarms")

    def end(self) -> None:
        """Wakes the loop for the last time."""
        readings_recorded.disconnect(dispatch_uid="alarms")
        self.awake.set()

    async def wake(self, *, appended: Sequence[Appended], **_: Any) -> None:
        # Async, because Django runs other receivers of an event loop in a thread.
        self.received.note(appended)
        self.awake.set()

    def wait(self, stop: threading.Event, *, least: float, most: float) -> None:
        """Waits for `least` seconds, then until there are readings, `most` seconds have passed or `stop` is set."""
        if not stop.wait(least):
            self.awake.wait(max(0.0, most - least))
        self.awake.clear()


def keep_evaluating(
    stop: threading.Event, *, waker: Waker | None = None, report: Callable[[Evaluation], None] | None = None
) -> None:
    """Evaluates until `stop` is set: every LOOK_SECONDS, and with a `waker` as soon as readings were stored.

    Any error is logged and counted, and the next evaluation tries again. Also deletes alarms that have expired. Whoever
    sets `stop` calls `waker.end()` too.
    """
    current_work.set(Work.UPKEEP)
    evaluator = Evaluator(waker.received if waker else None, look_share=LOOK_SHARE)
    waker = waker or Waker()
    away = False
    expired_at: float | None = None
    while not stop.is_set():
        started, used = time.monotonic(), time.thread_time()
        has_rules = True
        try:
            done = evaluator.evaluate(now=timezone.now(), stop=stop, seconds=EVALUATION_SECONDS)
            has_rules = bool(evaluator.rules and evaluator.rules.rules)
            if away:
                logger.info("The database answers again; the evaluation of alarms continues.")
            away = False
            if evaluator.failures.forget(FAILED):
                logger.info("An evaluation of alarms succeeded again.")
            if done.opened or done.resolved or done.failed:
                logger.info("Alarms: %s", done)
            if report:
                report(done)
            if expired_at is None or started - expired_at >= EXPIRY_INTERVAL_SECONDS:
                expire_alarms(now=timezone.now(), stop=stop)
                expired_at = started
        except Busy:
            evaluator.forget()
            logger.debug("Another process evaluates the alarms of this database.")
        except (OperationalError, InterfaceError) as error:
            instruments.FAILED_EVALUATIONS.inc()
            if not away:
                logger.warning("The evaluation of alarms waits for the database: %s", str(error).strip())
            away = True
        except Exception as error:
            instruments.FAILED_EVALUATIONS.inc()
            evaluator.failures.write(FAILED, error)
        finally:
            with suppress(Exception):  # a connection that cannot be closed is already lost
                connection.close()
        least = pause_after(evaluator.done, time.thread_time() - used)
        # Without rules nothing waits for new readings, so that storing them costs nothing.
        unfinished = has_rules and not away and evaluator.done.unfinished
        least = least if has_rules else LOOK_SECONDS
        waker.wait(stop, least=least, most=least if unfinished else max(least, LOOK_SECONDS))


def pause_after(done: Evaluation, used: float) -> float:
    """Seconds until the next evaluation may begin, after one that used so many seconds of CPU."""
    longest = LONG_PAUSE_SECONDS if done.complete and done.readings > MANY_READINGS else LOOK_SECONDS
    return min(longest, max(PAUSE_SECONDS, PAUSE_FACTOR * used))

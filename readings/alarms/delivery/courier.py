"""Delivers messages in a thread or process until it is stopped; one process at a time delivers.

This thread works with the database. Each try is made by a thread of its own, which does not use the database, and at
most one for each channel, so that a slow receiver delays no other channel and the messages of a channel keep their
order.
"""

import logging
import threading
import time
from contextlib import suppress
from datetime import datetime
from queue import Empty, SimpleQueue

import msgspec
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from devices.database.work_kinds import Work, current_work
from readings.alarms import instruments
from readings.alarms.delivery import outbox
from readings.alarms.delivery.answers import Answer
from readings.alarms.delivery.releasing import end_mutes, release, repeat
from readings.alarms.delivery.rounds import note_round
from readings.alarms.delivery.sending import Post, post_of, send
from readings.alarms.delivery.wakeup import awake, wake
from readings.alarms.models import Channel, Delivery, DeliveryState
from readings.upkeep.failures import FailureLog
from readings.upkeep.locks import Busy, exclusively

logger = logging.getLogger(__name__)

# Seconds between two looks for messages. Messages of this process's evaluation wake the loop.
LOOK_SECONDS = 1.0
# Seconds between two looks at repetitions and ended mutes, and between two notes that delivery is running.
SLOW_SECONDS = 10.0
EXPIRY_SECONDS = 3600.0
# Pause after an error, and while another process delivers.
PAUSE_SECONDS = 2.0
# How long tries that run may take to end when the loop stops. Those that take longer are repeated later.
STOP_SECONDS = 3.0
FAILED = "A round of delivery failed. The next one tries again"


class Tried(msgspec.Struct, frozen=True):
    """A try that has ended."""

    channel_id: int
    delivery_id: int
    started: datetime
    answer: Answer


class Courier:
    """State of a process that delivers: the channels that a thread is sending to, and the results of threads."""

    def __init__(self) -> None:
        self.busy: dict[int, int] = {}  # by channel id, the delivery's id
        self.results: SimpleQueue[Tried] = SimpleQueue()
        self.failures = FailureLog(logger)
        self.looked_at: float | None = None
        self.expired_at: float | None = None

    def step(self, *, now: datetime) -> int:
        """Stores results, releases what is due, and begins tries; returns how many. Raises DatabaseError."""
        self.record_results(now=now)
        monotonic = time.monotonic()
        if self.looked_at is None or monotonic - self.looked_at >= SLOW_SECONDS:
            end_mutes(now=now)
            repeat(now=now)
            note_round(now=now)
            self.looked_at = monotonic
        if self.expired_at is None or monotonic - self.expired_at >= EXPIRY_SECONDS:
            outbox.expire()
            self.expired_at = monotonic
        release(now=now)
        begun = 0
        for delivery in outbox.due(now=now, busy=self.busy):
            begun += self.begin(delivery, now=now)
        return begun

    def begin(self, delivery: Delivery, *, now: datetime) -> bool:
        """Starts a thread that makes a try. A message whose alarms were erased is dropped; then returns False."""
        content = outbox.content_of(delivery.message)
        if content is None:
            outbox.finish([delivery], DeliveryState.DROPPED, now=now, error="Dropped because its alarms were deleted.")
            return False
        self.busy[delivery.channel_id] = delivery.pk
        work = (delivery.channel, post_of(content), delivery.pk, now)
        threading.Thread(target=self.attempt, args=work, name="message", daemon=True).start()
        return True

    def attempt(self, channel: Channel, post: Post, delivery_id: int, started: datetime) -> None:
        """In a thread of its own. An unexpected error is a failed try, whose text may have secrets and is not kept."""
        try:
            answer = send(channel, post, now=timezone.now())
        except Exception as error:
            name = type(error).__name__
            logger.error("Sending a message to channel %s failed unexpectedly (%s)", channel.pk, name)
            answer = Answer(False, f"Sending failed unexpectedly ({name}).")
        self.results.put(Tried(channel.pk, delivery_id, started, answer))
        wake()

    def record_results(self, *, now: datetime) -> None:
        """Stores what threads have found out. A result that cannot be stored is kept for the next round."""
        while True:
            try:
                tried = self.results.get_nowait()
            except Empty:
                return
            try:
                state = outbox.record(tried.delivery_id, tried.answer, started=tried.started, now=now)
            except BaseException:
                self.results.put(tried)
                raise
            self.busy.pop(tried.channel_id, None)
            instruments.TRIES.labels("delivered" if tried.answer.delivered else "failed").inc()
            if state == DeliveryState.GIVEN_UP:
                logger.warning("Gave up a message for channel %s: %s", tried.channel_id, tried.answer.detail)
            elif state == DeliveryState.WAITING:
                logger.info("A message did not reach channel %s: %s", tried.channel_id, tried.answer.detail)

    def settle(self, seconds: float) -> None:
        """Waits at most so long for the tries that run, and stores their results. Raises DatabaseError."""
        deadline = time.monotonic() + seconds
        while self.busy and (left := deadline - time.monotonic()) > 0:
            awake.wait(min(left, 0.2))
            awake.clear()
            self.record_results(now=timezone.now())


def keep_delivering(stop: threading.Event) -> None:
    """Delivers until `stop` is set. Whoever sets `stop` calls `wake` too. Any error is logged, and it goes on."""
    current_work.set(Work.UPKEEP)
    courier = Courier()
    away = False
    while not stop.is_set():
        try:
            with exclusively("delivery"):
                while not stop.is_set():
                    awake.clear()
                    courier.step(now=timezone.now())
                    if away:
                        logger.info("The database answers again; the delivery of messages continues.")
                    away = False
                    if courier.failures.forget(FAILED):
                        logger.info("A round of delivery succeeded again.")
                    if not stop.is_set():
                        awake.wait(LOOK_SECONDS)
                courier.settle(STOP_SECONDS)
        except Busy:
            logger.debug("Another process delivers the messages of this database.")
        except (OperationalError, InterfaceError) as error:
            instruments.FAILED_ROUNDS.inc()
            if not away:
                logger.warning("The delivery of messages waits for the database: %s", str(error).strip())
            away = True
        except Exception as error:
            instruments.FAILED_ROUNDS.inc()
            courier.failures.write(FAILED, error)
        finally:
            with suppress(Exception):  # a connection that cannot be closed is already lost
                connection.close()
        stop.wait(PAUSE_SECONDS)


def deliver_once(*, seconds: float = 60.0, stop: threading.Event | None = None) -> int:
    """Delivers what is due now, for at most so many seconds; returns how many tries. Raises Busy and DatabaseError."""
    courier = Courier()
    begun = 0
    deadline = time.monotonic() + seconds
    with exclusively("delivery"):
        while not (stop and stop.is_set()) and time.monotonic() < deadline:
            begun += courier.step(now=timezone.now())
            if not courier.busy:
                break
            awake.wait(0.2)
            awake.clear()
        courier.settle(max(0.0, deadline - time.monotonic()))
    return begun

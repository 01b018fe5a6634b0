"""Database work of an event loop, in threads of its own, with a deadline.

Outside a request Django's async code shares one thread, and a `ThreadPoolExecutor` waits for ever for a thread that
hangs. Here a caller waits no longer than its deadline, what waits is bounded, and a thread that does not come back is
replaced.
"""

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from django.db import OperationalError, connection

from devices.database import instruments
from devices.database.work import DatabaseTimeout, NotBegun, Work, current_work

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# How long a thread keeps its connection and waits for the next job, in seconds; then it ends.
IDLE_SECONDS = 1.0
# How long after its deadline a job may hold its thread before another takes the thread's place, in seconds.
GRACE_SECONDS = 2.0
# Threads that did not come back, of one runner. With so many of them it takes no more work.
LOST_MAX = 16


class RunnerBusy(OperationalError):
    """As much waits for the database as may wait."""


@dataclass(eq=False)
class Job:
    function: Callable[[], Any]
    outcome: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    begun: bool = False


@dataclass(eq=False)
class Worker:
    """One thread. `lost`: another has taken its place, so it ends as soon as it comes back."""

    thread: threading.Thread | None = None
    lost: bool = False
    job: Job | None = field(default=None)


class DatabaseRunner:
    """At most `threads` jobs at a time for one kind of work; at most `waiting_max` more wait.

    `seconds`: how long a caller waits for the outcome of a job, from when it asks.
    """

    def __init__(self, name: str, *, work: Work, threads: int, seconds: float, waiting_max: int) -> None:
        self.name, self.work, self.seconds = name, work, seconds
        self.threads, self.waiting_max = threads, waiting_max
        self.waiting: deque[Job] = deque()
        self.workers: set[Worker] = set()
        self.idle = 0
        self.lost = 0
        # Guards all of the above; threads wait on it for jobs.
        self.changed = threading.Condition()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The function's outcome. It may use the ORM; its thread's connection is closed once it is idle.

        Raises what the function raises, DatabaseTimeout where the deadline passes first (NotBegun, if before the
        function was called), and RunnerBusy.
        """
        loop = asyncio.get_running_loop()
        job = Job(partial(function, *args, **kwargs), loop.create_future(), loop)
        self.submit(job)
        try:
            async with asyncio.timeout(self.seconds):
                return await job.outcome  # type: ignore[no-any-return]
        except TimeoutError as error:
            instruments.DATABASE_TIMEOUTS.labels(self.work.value).inc()
            loop.call_later(GRACE_SECONDS, self.replace_thread_of, job)
            kind = DatabaseTimeout if job.begun else NotBegun
            raise kind(f"The database did not answer within {self.seconds:g} s.") from error

    def submit(self, job: Job) -> None:
        with self.changed:
            while self.waiting and self.waiting[0].outcome.done():  # given up by its caller
                self.waiting.popleft()
            if len(self.waiting) >= self.waiting_max or self.lost >= LOST_MAX:
                raise RunnerBusy(f"More database work waits than may wait ({self.name}: {self.waiting_max} jobs).")
            self.waiting.append(job)
            if len(self.waiting) <= self.idle:  # an idle thread counts as such until it has woken up
                self.changed.notify()
            elif len(self.workers) < self.threads:
                self.begin_thread()

    def begin_thread(self) -> None:
        """To be called with the lock held."""
        worker = Worker()
        # A daemon: a thread that hangs must not keep the process from its end.
        worker.thread = threading.Thread(target=self.serve, args=[worker], name=self.name, daemon=True)
        self.workers.add(worker)
        worker.thread.start()

    def serve(self, worker: Worker) -> None:
        """The thread: jobs until there is none for IDLE_SECONDS."""
        current_work.set(self.work)
        try:
            while (job := self.next_job(worker)) is not None:
                self.do(job)
                job = None  # or it, and its caller, would be kept until the next one
        finally:
            close_connection()

    def next_job(self, worker: Worker) -> Job | None:
        """Waits for a job; None where the thread is to end."""
        with self.changed:
            worker.job = None
            if worker.lost:
                self.lost -= 1
                return None
            while True:
                while self.waiting:
                    job = self.waiting.popleft()
                    if not job.outcome.done():  # else nobody waits for it any more
                        job.begun, worker.job = True, job
                        return job
                self.idle += 1
                notified = self.changed.wait(IDLE_SECONDS)
                self.idle -= 1
                if not notified and not self.waiting:
                    self.workers.discard(worker)
                    return None

    def do(self, job: Job) -> None:
        try:
            outcome = job.function()
        except Exception as error:
            close_connection()  # it may be the connection that is broken
            hand_over(job, error=error)
        else:
            hand_over(job, outcome=outcome)

    def replace_thread_of(self, job: Job) -> None:
        """Lets another thread take the place of the one that still holds this job, if one does."""
        with self.changed:
            for worker in self.workers:
                if worker.job is job:
                    break
            else:
                return
            self.workers.discard(worker)
            worker.lost = True
            self.lost += 1
            instruments.DATABASE_THREADS_REPLACED.labels(self.work.value).inc()
            logger.error("A thread (%s) hangs in the database and is replaced", self.name)
            if self.waiting:
                self.begin_thread()


def hand_over(job: Job, *, outcome: Any = None, error: Exception | None = None) -> None:
    """From the thread to whoever awaits the job."""

    def deliver() -> None:
        if job.outcome.done():
            return
        if error is None:
            job.outcome.set_result(outcome)
        else:
            job.outcome.set_exception(error)

    try:
        job.loop.call_soon_threadsafe(deliver)
    except RuntimeError:
        logger.debug("The event loop has ended before its database work did")


def own_copy(error: Exception) -> Exception:
    """The error for one of several who wait for the same: raised in many places, one object's traceback would grow."""
    try:
        copied = type(error)(*error.args)
    except Exception:
        copied = OperationalError(str(error))
    copied.__cause__ = error.__cause__
    return copied


def close_connection() -> None:
    """Gives this thread's connection back."""
    try:
        connection.close()
    except Exception:
        logger.exception("A connection to the database could not be closed")

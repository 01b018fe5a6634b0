"""Runs database work of an event loop in separate threads, with a deadline.

Outside a request, Django's async code uses one shared thread, and a `ThreadPoolExecutor` waits forever for a thread
that hangs. Here a caller waits at most until its deadline, the queue is bounded, and a thread that hangs is replaced.
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
from devices.database.work_kinds import DatabaseTimeout, NotBegun, Work, current_work

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# How long an idle thread keeps its connection and waits for the next job before it ends, in seconds.
IDLE_SECONDS = 1.0
# How long a job may occupy its thread after its deadline before the thread is replaced, in seconds.
GRACE_SECONDS = 2.0
# Maximum number of hanging threads of one runner. At this number it refuses new jobs.
LOST_MAX = 16


class RunnerBusy(OperationalError):
    """The queue of the runner is full, or too many of its threads hang."""


@dataclass(eq=False)
class Job:
    function: Callable[[], Any]
    outcome: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop
    begun: bool = False


@dataclass(eq=False)
class Worker:
    """One thread. `lost`: the thread was replaced because it hung; it ends as soon as its job returns."""

    thread: threading.Thread | None = None
    lost: bool = False
    job: Job | None = field(default=None)


class DatabaseRunner:
    """Runs at most `threads` jobs of one kind of work at a time; at most `waiting_max` further jobs wait.

    `seconds`: how long a caller waits for the outcome of a job, including the time in the queue.
    """

    def __init__(self, name: str, *, work: Work, threads: int, seconds: float, waiting_max: int) -> None:
        self.name, self.work, self.seconds = name, work, seconds
        self.threads, self.waiting_max = threads, waiting_max
        self.waiting: deque[Job] = deque()
        self.workers: set[Worker] = set()
        self.idle = 0
        self.lost = 0
        # Protects all attributes above; idle threads wait on it for jobs.
        self.changed = threading.Condition()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs the function in a thread and returns its result. The function may use the ORM.

        Raises any error of the function, DatabaseTimeout if the deadline passes first (its subclass NotBegun if the
        function had not been called by then), and RunnerBusy.
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
            while self.waiting and self.waiting[0].outcome.done():  # its caller has given up
                self.waiting.popleft()
            if len(self.waiting) >= self.waiting_max or self.lost >= LOST_MAX:
                raise RunnerBusy(f"The queue for database work is full ({self.name}: {self.waiting_max} jobs).")
            self.waiting.append(job)
            if len(self.waiting) <= self.idle:  # a thread counts as idle until it has woken up
                self.changed.notify()
            elif len(self.workers) < self.threads:
                self.begin_thread()

    def begin_thread(self) -> None:
        """Starts a thread. The caller must hold the lock `changed`."""
        worker = Worker()
        # A daemon thread, because a thread that hangs must not prevent the process from ending.
        worker.thread = threading.Thread(target=self.serve, args=[worker], name=self.name, daemon=True)
        self.workers.add(worker)
        worker.thread.start()

    def serve(self, worker: Worker) -> None:
        """The main function of a thread: runs jobs until none has arrived for IDLE_SECONDS."""
        current_work.set(self.work)
        try:
            while (job := self.next_job(worker)) is not None:
                self.do(job)
                job = None  # releases the job and its caller's objects before the thread waits
        finally:
            close_connection()

    def next_job(self, worker: Worker) -> Job | None:
        """Waits for a job and returns it; None if the thread should end."""
        with self.changed:
            worker.job = None
            if worker.lost:
                self.lost -= 1
                return None
            while True:
                while self.waiting:
                    job = self.waiting.popleft()
                    if not job.outcome.done():  # otherwise its caller has given up
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
            close_connection()  # the connection may be broken
            hand_over(job, error=error)
        else:
            hand_over(job, outcome=outcome)

    def replace_thread_of(self, job: Job) -> None:
        """Replaces the thread that still runs this job, if there is one."""
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
            logger.error("A thread (%s) hangs in a database call and is replaced", self.name)
            if self.waiting:
                self.begin_thread()


def hand_over(job: Job, *, outcome: Any = None, error: Exception | None = None) -> None:
    """Passes the outcome from the thread to the event loop that awaits the job."""

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
        logger.debug("The event loop ended before its database work")


def own_copy(error: Exception) -> Exception:
    """A copy of the error for one of several waiting callers.

    One exception object raised in several places would collect their tracebacks.
    """
    try:
        copied = type(error)(*error.args)
    except Exception:
        copied = OperationalError(str(error))
    copied.__cause__ = error.__cause__
    return copied


def close_connection() -> None:
    """Closes this thread's connection: it goes back to the pool, if there is one."""
    try:
        connection.close()
    except Exception:
        logger.exception("A connection to the database could not be closed")

"""Runs CPU-bound work of an event loop in one thread: large bodies and answers would block the loop for too long.

The thread and the event loop share the interpreter's lock (GIL). Therefore there is only one thread, and work of more
than a millisecond calls `Pauses.pause` regularly. Without pauses the event loop waits `sys.getswitchinterval()`, 5 ms,
each time it needs the lock, and a request needs it about ten times.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar
from weakref import WeakKeyDictionary

from rest_framework import status
from rest_framework.exceptions import APIException

# Maximum number of large bodies of one caller in this process that wait for the thread or run in it.
WAITING_MAX = 16

WORK_SECONDS = 0.001
PAUSE_SECONDS = 0.0001

T = TypeVar("T")

thread = ThreadPoolExecutor(1, "cpu-pool")


class TooManyLargeBodies(APIException):
    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "too_many_large_bodies"
    default_detail = (
        f"{WAITING_MAX} large bodies of this caller are waiting already (constant WAITING_MAX of devices.cpu_pool). "
        "Send fewer at the same time. Nothing of this request was stored."
    )
    wait = 1


class Turns:
    """The queue of one event loop for the thread. It serves the callers round-robin, one job each."""

    def __init__(self) -> None:
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self.counts: dict[str, int] = {}
        self.busy = False

    async def run(self, caller: str, function: Callable[[], T]) -> T:
        """Runs `function` in the thread. Raises TooManyLargeBodies, and any error of the function."""
        if self.counts.get(caller, 0) >= WAITING_MAX:
            raise TooManyLargeBodies
        self.counts[caller] = self.counts.get(caller, 0) + 1
        loop = asyncio.get_running_loop()
        turn = loop.create_future()
        self.waiting.setdefault(caller, deque()).append(turn)
        self.begin()
        try:
            await turn
            return await loop.run_in_executor(thread, function)
        finally:
            self.counts[caller] -= 1
            if not self.counts[caller]:
                del self.counts[caller]
            if turn.done() and not turn.cancelled():
                self.busy = False
                self.begin()

    def begin(self) -> None:
        """Gives the thread to the caller who has waited longest, if the thread is free."""
        while self.waiting and not self.busy:
            caller = next(iter(self.waiting))
            turns = self.waiting.pop(caller)
            turn = turns.popleft()
            if turns:
                self.waiting[caller] = turns  # to the end of the queue
            if not turn.cancelled():
                self.busy = True
                turn.set_result(None)


turns_of: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


async def run(caller: str, function: Callable[[], T]) -> T:
    """Runs `function` in the thread of the pool and returns its result; callers get the thread in turn.

    Raises TooManyLargeBodies, and any error of the function.
    """
    loop = asyncio.get_running_loop()
    if (turns := turns_of.get(loop)) is None:
        turns = turns_of[loop] = Turns()
    return await turns.run(caller, function)


class Pauses:
    """Gives other threads a chance to take the interpreter's lock during long work."""

    def __init__(self) -> None:
        self.since = time.perf_counter()

    def pause(self) -> None:
        """Sleeps for PAUSE_SECONDS if WORK_SECONDS have passed since the last pause. Otherwise it takes 60 ns."""
        if time.perf_counter() - self.since > WORK_SECONDS:
            time.sleep(PAUSE_SECONDS)
            self.since = time.perf_counter()

"""CPU-bound work of an event loop in one thread: large bodies and answers, which would stop the loop for too long.

The thread and the event loop share the interpreter's lock. So there is one thread, and work of more than a millisecond
calls `Pauses.pause` as it goes: a thread that only waits for the lock gets it after `sys.getswitchinterval()`, which is
5 ms, and a request takes it about ten times.
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

# Large bodies of one caller in this process that wait for the thread or are in it.
WAITING_MAX = 16

WORK_SECONDS = 0.001
PAUSE_SECONDS = 0.0001

T = TypeVar("T")

thread = ThreadPoolExecutor(1, "cpu-pool")


class TooManyLargeBodies(APIException):
    status_code = status.HTTP_429_TOO_MANY_REQUESTS
    default_code = "too_many_large_bodies"
    default_detail = (
        f"{WAITING_MAX} large bodies of this caller (the constant WAITING_MAX of devices.cpu_pool) wait already. Send "
        "fewer at a time; nothing of this request was stored."
    )
    wait = 1


class Turns:
    """One event loop's queue for the thread, in which callers take turns."""

    def __init__(self) -> None:
        self.waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self.counts: dict[str, int] = {}
        self.busy = False

    async def run(self, caller: str, function: Callable[[], T]) -> T:
        """`function` in the thread. Raises TooManyLargeBodies, and what the function raises."""
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
        """Gives the thread to the caller who has waited longest for a turn."""
        while self.waiting and not self.busy:
            caller = next(iter(self.waiting))
            turns = self.waiting.pop(caller)
            turn = turns.popleft()
            if turns:
                self.waiting[caller] = turns  # behind the others
            if not turn.cancelled():
                self.busy = True
                turn.set_result(None)


turns_of: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


async def run(caller: str, function: Callable[[], T]) -> T:
    """`function` in the thread of the pool, in turn with other callers' work.

    Raises TooManyLargeBodies, and what the function raises.
    """
    loop = asyncio.get_running_loop()
    if (turns := turns_of.get(loop)) is None:
        turns = turns_of[loop] = Turns()
    return await turns.run(caller, function)


class Pauses:
    """Lets other threads take the interpreter's lock during long work."""

    def __init__(self) -> None:
        self.since = time.perf_counter()

    def pause(self) -> None:
        """Sleeps for PAUSE_SECONDS where WORK_SECONDS have passed since the last pause. Takes 60 ns otherwise."""
        if time.perf_counter() - self.since > WORK_SECONDS:
            time.sleep(PAUSE_SECONDS)
            self.since = time.perf_counter()

"""Limits how many questions (requests other than ingest) run at the same time, per caller and per process."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from devices.database.work_kinds import POOL_SIZES, Work

# Questions that run at the same time in a process. Two connections of the pool are left for uncounted requests, such
# as signing in.
QUESTIONS_PER_PROCESS = POOL_SIZES[Work.QUESTION] - 2
# Seconds that a question waits for a place.
WAIT_SECONDS = 2.0
# Questions of one caller that may wait for a place; further ones are refused at once.
WAITING_PER_CALLER = 32


class NoPlace(Exception):
    """The question cannot run now. `of_caller`: the caller's own limit is reached; otherwise that of the process."""

    def __init__(self, *, of_caller: bool) -> None:
        super().__init__(of_caller)
        self.of_caller = of_caller


@dataclass(eq=False)
class Waiter:
    caller: str
    granted: "asyncio.Future[None]"


class Places:
    """Shares `total` places fairly among callers; each gets at most `per_caller`.

    A caller gets another place only if more places are free than it holds. So callers that send requests as fast as
    they can get smaller and smaller shares, and a place stays free for a new caller: of ten places, three such callers
    hold 4, 3 and 2. (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)

    Not thread-safe: use it only in the event loop's thread.
    """

    def __init__(self, *, total: int, per_caller: int) -> None:
        self.free = total
        self.per_caller = per_caller
        self.held: Counter[str] = Counter()
        self.waiting: list[Waiter] = []

    async def take(self, caller: str, *, unless: "asyncio.Future[object]") -> bool:
        """Takes a place, waiting up to WAIT_SECONDS; False if `unless` was done first. After True, call `release`.

        Raises NoPlace after WAIT_SECONDS, or at once if WAITING_PER_CALLER questions of the caller wait already.
        """
        if self.may_take(caller):
            self.grant(caller)
            return True
        if sum(waiter.caller == caller for waiter in self.waiting) >= WAITING_PER_CALLER:
            raise self.refusal(caller)
        waiter = Waiter(caller, asyncio.get_running_loop().create_future())
        self.waiting.append(waiter)
        try:
            waits = (waiter.granted, unless)
            await asyncio.wait(waits, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if waiter.granted.done():
                self.release(caller)
            raise
        finally:
            if waiter in self.waiting:
                self.waiting.remove(waiter)
        if waiter.granted.done():
            return True
        if unless.done():
            return False
        raise self.refusal(caller)

    def may_take(self, caller: str) -> bool:
        return self.held[caller] < min(self.per_caller, self.free)

    def grant(self, caller: str) -> None:
        self.free -= 1
        self.held[caller] += 1

    def release(self, caller: str) -> None:
        """Gives back a place. The waiting caller with the fewest places gets it; among equals, the first to wait."""
        self.free += 1
        self.held[caller] -= 1
        if not self.held[caller]:
            del self.held[caller]
        for waiter in sorted(self.waiting, key=lambda waiter: self.held[waiter.caller]):
            if self.may_take(waiter.caller):
                self.waiting.remove(waiter)
                self.grant(waiter.caller)
                waiter.granted.set_result(None)

    def refusal(self, caller: str) -> NoPlace:
        return NoPlace(of_caller=self.held[caller] >= self.per_caller)

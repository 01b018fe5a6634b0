"""How many questions run at the same time: of one caller, and of a process."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from devices.database.work import POOL_SIZES, Work

# Questions of a process at a time. Two connections of the pool are left for what is not counted, such as signing in.
QUESTIONS_PER_PROCESS = POOL_SIZES[Work.QUESTION] - 2
# How long a question waits for its place, in seconds.
WAIT_SECONDS = 2.0
# Questions of one caller that wait for a place; a further one is refused at once.
WAITING_PER_CALLER = 32


class NoPlace(Exception):
    """The question cannot run now. `of_caller`: the caller's own bound is reached, else the process's."""

    def __init__(self, *, of_caller: bool) -> None:
        super().__init__(of_caller)
        self.of_caller = of_caller


@dataclass(eq=False)
class Waiter:
    caller: str
    granted: "asyncio.Future[None]"


class Places:
    """Shares `total` places fairly among callers, of which each gets at most `per_caller`.

    A caller that holds places gets another one only if more are free than it holds. So callers who ask as fast as they
    can get ever smaller shares, and a place is left for whoever comes next: of ten places three such callers hold 4, 3
    and 2. (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998.)

    For the event loop's thread alone.
    """

    def __init__(self, *, total: int, per_caller: int) -> None:
        self.free = total
        self.per_caller = per_caller
        self.held: Counter[str] = Counter()
        self.waiting: list[Waiter] = []

    async def take(self, caller: str, *, unless: "asyncio.Future[object]") -> bool:
        """Takes a place, which is to be released; waits up to WAIT_SECONDS for one. False: `unless` was done first.

        Raises NoPlace.
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
        """Gives a place back; of those who wait for it the caller with the fewest places gets it, then the first."""
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

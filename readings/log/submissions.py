"""What requests submit to a group commit, and how their answers reach the event loops that wait for them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from devices.access.callers import Caller
from readings.log.entries import NewReading
from readings.log.recording import OutcomeUnknown, Recorded


@dataclass(eq=False)
class Submission:
    """The readings of one request, and the future that the request awaits.

    `caller`: whose key was looked up for it; None if no key has to be checked. `nodes`: where its devices are in a
    distributed database; None if unknown.
    """

    readings: Sequence[NewReading]
    received_at: datetime
    devices: frozenset[str]
    outcome: "asyncio.Future[list[Recorded]]"
    caller: Caller | None = None
    nodes: frozenset[int] | None = frozenset()

    def give_up(self) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(OutcomeUnknown())


def devices_of(group: Sequence[Submission]) -> frozenset[str]:
    return frozenset().union(*(submission.devices for submission in group))


def answer(submission: Submission, error: Exception) -> None:
    """Passes the error of a submission from the thread to its event loop."""

    def deliver() -> None:
        if not submission.outcome.done():
            submission.outcome.set_exception(error)

    submission.outcome.get_loop().call_soon_threadsafe(deliver)


def answer_all(group: Sequence[Submission], outcomes: Sequence[Recorded]) -> None:
    """Passes the outcomes of a group's readings from the thread to their event loop, which it wakes once."""

    def deliver() -> None:
        first = 0
        for submission in group:
            after = first + len(submission.readings)
            if not submission.outcome.done():
                submission.outcome.set_result(list(outcomes[first:after]))
            first = after

    group[0].outcome.get_loop().call_soon_threadsafe(deliver)

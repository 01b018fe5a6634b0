"""Group commit: readings that arrive while a transaction is being committed share the next transaction.

There is no timer and no added wait when idle: a transaction starts when the event loop has handled what it received.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from weakref import WeakSet

from django.conf import settings
from django.db import connection
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException, AuthenticationFailed

from devices.access.authentication import INVALID_KEY
from devices.access.callers import Caller, callers_again
from devices.access.known_callers import KnownCallers
from devices.database import nodes
from devices.database.errors import trouble_of
from devices.database.placement import by_nodes, known_nodes_of, learn
from devices.database.runner import DatabaseRunner, RunnerBusy, own_copy
from devices.database.work_kinds import DatabaseTimeout, NotBegun, Work
from devices.querysets import visible_ids
from readings import instruments
from readings.log.damage import LogDamaged
from readings.log.entries import Appended, NewReading
from readings.log.recording import OutcomeUnknown, Recorded, announce, store
from readings.log.submissions import Submission, answer, answer_all, devices_of

logger = logging.getLogger(__name__)

# Maximum number of waiting readings, about 20 MB. More are refused immediately, because the answer would be too late.
QUEUED_READINGS_MAX = 20_000
# Maximum number of readings in one transaction, unless a single request has more.
GROUP_READINGS_MAX = 2_000
# How long a request waits for the outcome of its transaction, in seconds.
ANSWER_SECONDS = 5
# How long a transaction may take before its thread is replaced, in seconds.
COMMIT_SECONDS = 6.0
# Maximum number of transactions at a time. SQLite has one writer. On PostgreSQL a second transaction starts while the
# first is running, if at least PARALLEL_READINGS_MIN readings wait; with fewer, one larger group is faster than two.
# In a distributed database this holds for each set of nodes, because the nodes work at the same time, and because a
# transaction that waits for a node that hangs must not keep the locks of other nodes' devices.
WRITERS = {"postgresql": 2, "sqlite": 1}
PARALLEL_READINGS_MIN = 500
WRITERS_OF_NODES = 4
# How long the nodes of devices are remembered before they are asked for again, in seconds.
KNOWN_SECONDS = 30

# All committers of this process, one per event loop.
committers: "WeakSet[GroupCommitter]" = WeakSet()


class Overloaded(APIException):
    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "overloaded"
    default_detail = (
        f"Readings arrive faster than they can be stored: at most {QUEUED_READINGS_MAX} may wait. Nothing of this "
        "request was stored. Send it again."
    )
    wait = 1


class OutsideLimit(Exception):
    """A token is limited to devices with some tags, and a device has lost its tag since they were looked up."""


class KeysRevoked(Exception):
    """The keys of these submissions may not store them any more. `errors`: what each gets for an answer."""

    def __init__(self, errors: Mapping[Submission, Exception]) -> None:
        super().__init__()
        self.errors = errors


class GroupCommitter:
    """Stores the readings of one event loop: few transactions at a time (WRITERS), each in its own thread.

    `known` is told the `AccessVersion` of each transaction.
    """

    def __init__(self, known: KnownCallers | None = None) -> None:
        self.known = known or KnownCallers()
        self.waiting: deque[Submission] = deque()
        self.queued_readings = 0
        self.writers = WRITERS_OF_NODES if settings.DISTRIBUTED else WRITERS[connection.vendor]
        self.runner = DatabaseRunner(
            "group-commit", work=Work.INGEST, threads=self.writers, seconds=COMMIT_SECONDS, waiting_max=self.writers
        )
        self.writing: Counter[frozenset[int] | None] = Counter()  # the running transactions of each set of nodes
        self.learned_at = 0.0
        self.beginning = False  # whether the event loop is about to call `begin`
        self.locked: set[str] = set()  # the devices of the running transactions
        self.tasks: set[asyncio.Task[None]] = set()
        committers.add(self)

    async def record(
        self, readings: Sequence[NewReading], *, received_at: datetime, caller: Caller | None = None
    ) -> list[Recorded]:
        """Stores the readings like `recording.record`, in a transaction shared with other requests.

        Readings of another request that fail do not make these fail. Raises Overloaded, OutcomeUnknown, any error of
        `recording.record`, and with nothing stored AuthenticationFailed if the key of `caller` has been revoked, and
        OutsideLimit. A caller that is limited to tags must be looked up before the devices with these tags.
        """
        self.check_room(len(readings))
        devices = frozenset([reading.device_id for reading in readings])
        loop = asyncio.get_running_loop()
        submission = Submission(readings, received_at, devices, loop.create_future(), caller, known_nodes_of(devices))
        self.waiting.append(submission)
        self.queued_readings += len(readings)
        self.begin_soon()
        deadline = loop.call_later(ANSWER_SECONDS, submission.give_up)  # asyncio.timeout takes several times as long
        try:
            return await submission.outcome
        finally:
            deadline.cancel()

    def check_room(self, size: int) -> None:
        """Raises Overloaded if the queue has no room for `size` more readings. An empty queue takes any number."""
        if self.queued_readings and self.queued_readings + size > QUEUED_READINGS_MAX:
            instruments.OVERLOADS.inc()
            raise Overloaded

    def begin_soon(self) -> None:
        """Calls `begin` when the event loop has handled the requests that it has received by now.

        Without this a busy event loop would commit every few requests in a transaction of their own.
        """
        if not self.beginning:
            self.beginning = True
            asyncio.get_running_loop().call_soon(self.begin)

    def begin(self) -> None:
        """Starts transactions for waiting submissions while writers are free."""
        self.beginning = False
        while self.writing.total() < self.writers and (group := self.take()):
            self.writing[group[0].nodes] += 1
            self.locked |= devices_of(group)
            task = asyncio.create_task(self.write(group))
            self.tasks.add(task)  # prevents garbage collection, because asyncio keeps only weak references
            task.add_done_callback(self.tasks.discard)

    async def write(self, group: list[Submission]) -> None:
        """Commits a group, then starts the next one, then sends the signal for this one."""
        appended: list[Appended] = []
        suspicion = asyncio.get_running_loop().call_later(nodes.SUSPICIOUS_SECONDS, nodes.watch.suspect)
        try:
            appended = await self.runner.run(self.commit, group)
        except (NotBegun, RunnerBusy) as error:
            for submission in group:
                answer(submission, own_copy(error))
        except DatabaseTimeout as error:
            for submission in group:
                answer(submission, OutcomeUnknown())
            logger.warning("A transaction of %s requests has no outcome yet: %s", len(group), error)
        except Exception as error:  # an error in our code: the waiting requests must receive it
            logger.exception("A transaction of %s requests failed", len(group))
            for submission in group:
                answer(submission, own_copy(error))
        finally:
            suspicion.cancel()
            self.writing -= Counter([group[0].nodes])  # also forgets a set of nodes without a transaction
            self.locked -= devices_of(group)
            self.begin_soon()
        await announce(appended, waits=False)

    def take(self) -> list[Submission]:
        """Removes and returns the next group: submissions in order, with at most GROUP_READINGS_MAX readings in total.

        A single larger submission is a group too. The group ends before a submission for a device that a running
        transaction has locked, because it would only wait for that lock; so it may be empty. In a distributed database
        it has submissions for the same nodes, and instead of ending leaves others out, and all for their devices.
        """
        group: list[Submission] = []
        left_out: list[Submission] = []
        held: set[str] = set()  # the devices of `left_out`: they keep their order, and a large batch gets its turn
        size = 0
        while self.waiting and (not group or size + len(self.waiting[0].readings) <= GROUP_READINGS_MAX):
            submission = self.waiting[0]
            given_up = submission.outcome.done()  # the client is gone, and nothing was acknowledged
            if not given_up and not (held.isdisjoint(submission.devices) and self.may_join(submission, group)):
                if not settings.DISTRIBUTED:
                    break
                left_out.append(self.waiting.popleft())
                held |= submission.devices
                continue
            self.waiting.popleft()
            self.queued_readings -= len(submission.readings)
            if not given_up:
                group.append(submission)
                size += len(submission.readings)
        self.waiting.extendleft(reversed(left_out))
        return group

    def may_join(self, submission: Submission, group: list[Submission]) -> bool:
        """Whether the submission may be stored together with the group, and beside the running transactions."""
        if group:
            return submission.nodes == group[0].nodes and self.locked.isdisjoint(submission.devices)
        running = self.writing[submission.nodes]
        parallel = running < WRITERS["postgresql"] and self.queued_readings >= PARALLEL_READINGS_MIN
        return (not running or parallel) and self.locked.isdisjoint(submission.devices)

    def commit(self, group: list[Submission]) -> list[Appended]:
        """Stores the group in one transaction; if that fails, each submission in its own. Runs in a thread.

        If the database fails and is distributed, those of the same nodes have a transaction of their own.
        """
        readings = [reading for submission in group for reading in submission.readings]
        instruments.COMMIT_READINGS.observe(len(readings))
        received_at = max(submission.received_at for submission in group)
        revoked: Mapping[Submission, Exception] = {}
        damaged: LogDamaged | None = None
        try:
            with instruments.COMMIT_FAILURES.count_exceptions(), instruments.COMMIT_SECONDS.time():
                try:
                    self.learn(group)
                    check = partial(self.check_keys, group, began=time.monotonic())
                    outcomes, appended = store(readings, received_at=received_at, check=check)
                except KeysRevoked as error:  # no failure of the commit
                    revoked = error.errors
                except LogDamaged as error:  # an id was sent again whose reading is in a damaged segment
                    damaged = error
        except OutcomeUnknown:
            for submission in group:
                answer(submission, OutcomeUnknown())
            return []
        except Exception as error:
            if trouble_of(error) is not None:  # a failure of the database would repeat for each submission
                connection.close()
                if len(parts := by_nodes(group, lambda s: s.devices)) > 1:  # but not for those of other nodes
                    return [log for part in parts for log in self.commit(part)]
                for submission in group:
                    answer(submission, own_copy(error))
                return []
            if len(group) == 1:
                answer(group[0], error)
                return []
            logger.warning("A group of %s requests failed and is stored one by one", len(group), exc_info=error)
            return [log for submission in group for log in self.commit([submission])]
        if damaged is not None:
            return self.commit_without(damaged, group)
        if revoked:
            for submission, refusal in revoked.items():
                answer(submission, refusal)
            others = [submission for submission in group if submission not in revoked]
            return self.commit(others) if others else []
        answer_all(group, outcomes)
        return appended

    def learn(self, group: list[Submission]) -> None:
        """Asks a distributed database where the devices are, if that is unknown or was asked long ago."""
        if settings.DISTRIBUTED and (group[0].nodes is None or time.monotonic() - self.learned_at > KNOWN_SECONDS):
            learn(devices_of(group))
            self.learned_at = time.monotonic()

    def commit_without(self, damaged: LogDamaged, group: list[Submission]) -> list[Appended]:
        """Stores the requests with the device of a damaged log one by one, and all others in one transaction."""
        if len(group) == 1:
            answer(group[0], damaged)
            return []
        with_device = [[submission] for submission in group if damaged.device_id in submission.devices]
        others = [submission for submission in group if damaged.device_id not in submission.devices]
        return [log for some in (others, *with_device) if some for log in self.commit(some)]

    def check_keys(self, group: Sequence[Submission], version: int, *, began: float) -> None:
        """Looks up again the keys that have expired, or were looked up at another `AccessVersion`. Raises KeysRevoked.

        Runs inside the transaction, so that nothing is stored for a key that was revoked before. `began`: a time before
        the version was read (`time.monotonic`); its answer may have taken long.
        """
        self.known.saw(version, read_at=began)
        now = timezone.now()
        doubtful = [(s, s.caller) for s in group if s.caller is not None and s.caller.is_doubtful(version, now=now)]
        if not doubtful:
            return
        errors: dict[Submission, Exception] = {}
        current = callers_again([caller for _, caller in doubtful], now=now)
        for (submission, before), caller in zip(doubtful, current, strict=True):
            submission.caller = caller
            if caller != before:
                errors[submission] = AuthenticationFailed(INVALID_KEY, code="invalid_key")
            elif before.limit is not None and visible_ids(submission.devices, before.limit) != submission.devices:
                errors[submission] = OutsideLimit()
        if errors:
            raise KeysRevoked(errors)


def queued_readings() -> int:
    """The number of waiting readings in this process."""
    return sum(committer.queued_readings for committer in list(committers))


instruments.QUEUED.set_function(queued_readings)

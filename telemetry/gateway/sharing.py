"""What all requests of an event loop share, and how they and MQTT use it. It imports no views."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

from devices.access.callers import Caller
from devices.access.key_lookup import LOOK_UP_SECONDS, KeyResolver
from devices.database.runner import DatabaseRunner
from devices.database.work_kinds import Work
from readings.ingest.refused_posts import Refused, RejectionKeeper
from readings.log.entries import NewReading
from readings.log.group_commit import GroupCommitter
from readings.log.large_batches import LARGE_BATCH_READINGS_MIN, LargeBatches
from readings.log.recording import Recorded

T = TypeVar("T")

# Posts with a token that may wait for `Shared.tokens`; beyond that they are answered 503.
TOKENS_WAITING_MAX = 500
# As for `Shared.registrations`: how long a post waits for its registration, in seconds, and how many may wait.
REGISTER_SECONDS, REGISTRATIONS_WAITING_MAX = 5.0, 50


class Shared:
    """Objects that all requests of one event loop share."""

    def __init__(self) -> None:
        self.resolver = KeyResolver()
        self.committer = GroupCommitter(self.resolver.known)
        # For what tokens need besides: which devices they may write for.
        self.tokens = DatabaseRunner(
            "tokens", work=Work.INGEST, threads=1, seconds=LOOK_UP_SECONDS, waiting_max=TOKENS_WAITING_MAX
        )
        # Registrations write, and wait for locks; no other post may wait for them.
        self.registrations = DatabaseRunner(
            "registrations",
            work=Work.INGEST,
            threads=1,
            seconds=REGISTER_SECONDS,
            waiting_max=REGISTRATIONS_WAITING_MAX,
        )
        self.rejections = RejectionKeeper()
        self.large_batches = LargeBatches()


class LaneSharing:
    """Uses the objects that all requests of an event loop share; for requests, and for MQTT."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    async def caller(self, key: str) -> Caller | None:
        # MQTT admits the key to a connection, whose commits do not check it.
        return await self.shared.resolver.caller(key, afresh=True)

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        return await self.shared.tokens.run(question, *arguments)

    async def register(self, registration: Callable[..., T], *arguments: Any) -> T:
        return await self.shared.registrations.run(registration, *arguments)

    async def record(
        self, readings: Sequence[NewReading], *, received_at: datetime, caller: Caller | None
    ) -> list[Recorded]:
        if len(readings) <= LARGE_BATCH_READINGS_MIN:
            return await self.shared.committer.record(readings, received_at=received_at, caller=caller)
        async with self.shared.large_batches.turn(len(readings)):
            return await self.shared.committer.record(readings, received_at=received_at, caller=caller)

    async def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        self.shared.rejections.note(refusal, now=now, count=count)

"""How a request of ingest reaches the database: together with others, or on its own.

The view chooses once. Requests of the ingest lane bring a way that all requests of a process share
(`telemetry.gateway.ingest_lane`). Any other request gets an `OwnWay`. The answers are the same.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.utils import timezone

from devices import cpu_pool
from devices.access.callers import Caller, caller_for_key
from devices.api.json import is_light
from readings.ingest.decoding import Posted
from readings.ingest.refused_posts import Refused, Times, keep_or_drop
from readings.log.entries import NewReading
from readings.log.recording import Recorded, announce, store

# From a body, and the code of `telemetry.gateway.bodies.BodyRefused` ("" where it was taken), to its readings.
Decode = Callable[[bytes, str], Posted]


class Body(Protocol):
    """A request's body, not decoded yet."""

    async def decoded(self, decode: Decode, *, caller: str) -> Posted:
        """By `decode`; a large body in the thread of `devices.cpu_pool`, where callers take turns."""
        ...


class Way(Protocol):
    async def caller(self, key: str) -> Caller | None:
        """Whose key it is; None where it is nobody's."""
        ...

    async def body(self) -> Body:
        """The whole body, when it has arrived."""
        ...

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        """Stores the readings and announces them; the outcome of each, in order."""
        ...

    async def note(self, refusal: Refused, *, now: datetime) -> None:
        """Keeps the refused post for the device's page."""
        ...


class OwnWay:
    """The way of a request that came by Django's ordinary handler: a look-up and a transaction of its own."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    async def caller(self, key: str) -> Caller | None:
        return await sync_to_async(caller_for_key)(key, now=timezone.now())

    async def body(self) -> Body:
        return DjangoBody(self.request)

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        # Announced from here: a thread that waited for this event loop would keep a stopping server from its end.
        outcomes, appended = await sync_to_async(store)(readings, received_at=received_at)
        await announce(appended)
        return outcomes

    async def note(self, refusal: Refused, *, now: datetime) -> None:
        await sync_to_async(keep_or_drop)({refusal: Times(now)})


class DjangoBody:
    """The body of a request that came by Django's ordinary handler."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    async def decoded(self, decode: Decode, *, caller: str) -> Posted:
        scope: dict[str, Any] = getattr(self.request, "scope", {})
        body, refused = self.request.body, scope.get("body_refused", "")
        return decode(body, refused) if is_light(body) else await cpu_pool.run(caller, partial(decode, body, refused))

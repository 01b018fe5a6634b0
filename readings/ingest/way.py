"""How an ingest request uses the database: together with other requests, or on its own.

The view chooses once per request. A request of the ingest lane has a `SharedWay`, which shares key look-ups and
transactions with other requests (`telemetry.gateway.ingest_lane`). Any other request gets an `OwnWay`. The answers are
the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.http import HttpRequest
from django.utils import timezone

from devices import cpu_pool
from devices.access.callers import Caller, caller_for_key
from devices.api.json_decoding import is_light
from readings.ingest.decoding import Posted
from readings.ingest.refused_posts import Refused, Times, keep_or_drop
from readings.log.entries import NewReading
from readings.log.recording import Recorded, announce, store

P = TypeVar("P", bound=Posted)
T = TypeVar("T")
# Converts a body, and the code of `telemetry.gateway.bodies.BodyRefused` ("" for a complete body), to readings.
Decode = Callable[[bytes, str], P]


@dataclass(frozen=True, kw_only=True)
class Format:
    """What is known of a body before it is decoded.

    `is_light`: whether decoding takes a few milliseconds at most. `count`: at least the number of readings in it.
    """

    is_light: Callable[[bytes], bool]
    count: Callable[[bytes], int]


def count_objects(body: bytes) -> int:
    return body.count(b"{")


JSON = Format(is_light=is_light, count=count_objects)


class Body(Protocol):
    """The body of a request before decoding."""

    async def decoded(self, decode: Decode[P], *, caller: str, form: Format = JSON) -> P:
        """Decodes the body; one that is not light in the thread of `devices.cpu_pool`, where callers take turns."""
        ...


class Recording(Protocol):
    """The part of a `Way` that stores."""

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """The result of a short piece of database work. Raises DatabaseError."""
        ...

    async def register(self, registration: Callable[..., T], *arguments: Any) -> T:
        """The result of a registration of devices, which may take longer. Raises DatabaseError."""
        ...

    async def record(
        self, readings: Sequence[NewReading], *, received_at: datetime, caller: Caller | None
    ) -> list[Recorded]:
        """Stores the readings and sends the signal; returns the outcome of each, in order.

        Raises AuthenticationFailed if the key of `caller` has been revoked since it was looked up. None: the key was
        checked otherwise.
        """
        ...


class Way(Recording, Protocol):
    async def caller(self, key: str) -> Caller | None:
        """The caller for a key; None if the key is not valid. Raises DatabaseError."""
        ...

    async def body(self) -> Body:
        """Waits for the complete body and returns it."""
        ...

    async def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        """Stores the refused post, for the device's page; `count` equal ones."""
        ...


class OwnWay:
    """For a request through Django's ordinary handler: it has its own key look-up and its own transaction."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    async def caller(self, key: str) -> Caller | None:
        return await sync_to_async(caller_for_key)(key, now=timezone.now())

    async def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        return await sync_to_async(question)(*arguments)

    async def register(self, registration: Callable[..., T], *arguments: Any) -> T:
        return await sync_to_async(registration)(*arguments)

    async def body(self) -> Body:
        return DjangoBody(self.request)

    async def record(
        self, readings: Sequence[NewReading], *, received_at: datetime, caller: Caller | None
    ) -> list[Recorded]:
        # The key was looked up a moment ago, for this request alone.
        # The signal is sent from here, because a thread that waits for this event loop would block the shutdown.
        outcomes, appended = await sync_to_async(store)(readings, received_at=received_at)
        await announce(appended)
        return outcomes

    async def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        await sync_to_async(keep_or_drop)({refusal: Times(now, count)})


class DjangoBody:
    """The body of a request through Django's ordinary handler."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    async def decoded(self, decode: Decode[P], *, caller: str, form: Format = JSON) -> P:
        scope: dict[str, Any] = getattr(self.request, "scope", {})
        body, refused = self.request.body, scope.get("body_refused", "")
        return (
            decode(body, refused) if form.is_light(body) else await cpu_pool.run(caller, partial(decode, body, refused))
        )

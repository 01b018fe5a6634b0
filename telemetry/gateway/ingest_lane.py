"""The ingest lane answers the two ingest endpoints without Django's request handling.

Under ASGI, Django uses a thread for every request, switches to it for each sync middleware and signal, and writes the
body to a temporary file. Ingest needs none of that.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse

from devices import cpu_pool
from devices.access.callers import Caller
from devices.access.key_lookup import KeyResolver
from devices.api.json import is_light
from readings.ingest.decoding import Posted
from readings.ingest.refused_posts import Refused, RejectionKeeper
from readings.ingest.views import IngestViewSet
from readings.ingest.way import Decode
from readings.log.entries import NewReading
from readings.log.group_commit import GroupCommitter
from readings.log.large_batches import LARGE_BATCH_READINGS_MIN, LargeBatches
from readings.log.recording import Recorded
from telemetry.gateway import bodies
from telemetry.middleware import problems
from telemetry.middleware.access_log import observe
from telemetry.middleware.compression import compress, is_compressible
from telemetry.middleware.request_id import begin_request

logger = logging.getLogger(__name__)

VIEWS = {
    "/api/v1/ingest": IngestViewSet.as_view({"post": "create"}),
    "/api/v1/ingest/batch": IngestViewSet.as_view({"post": "batch"}),
}
# The names of these routes in the URL configuration.
ROUTES = dict(zip(VIEWS.values(), ("ingest", "ingest-batch"), strict=True))
# An answer of at most this size is compressed on the event loop, which takes a millisecond.
LIGHT_ANSWER_BYTES = 64 * 1024


class Shared:
    """Objects that all requests of one event loop share."""

    def __init__(self) -> None:
        self.resolver = KeyResolver()
        self.committer = GroupCommitter()
        self.rejections = RejectionKeeper()
        self.large_batches = LargeBatches()


class SharedWay:
    """One request's `readings.ingest.way.Way`, which uses the objects that all requests share."""

    def __init__(self, shared: Shared, scope: HTTPScope, receive: ASGIReceiveCallable, limit: int) -> None:
        self.shared = shared
        self.scope = scope
        self.receive = receive
        self.limit = limit

    async def caller(self, key: str) -> Caller | None:
        return await self.shared.resolver.caller(key)

    async def record(self, readings: Sequence[NewReading], *, received_at: datetime) -> list[Recorded]:
        if len(readings) <= LARGE_BATCH_READINGS_MIN:
            return await self.shared.committer.record(readings, received_at=received_at)
        async with self.shared.large_batches.turn(len(readings)):
            return await self.shared.committer.record(readings, received_at=received_at)

    async def note(self, refusal: Refused, *, now: datetime, count: int = 1) -> None:
        self.shared.rejections.note(refusal, now=now, count=count)

    async def body(self) -> "LaneBody":
        try:
            return LaneBody(self, await bodies.read(self.receive, self.limit))
        except bodies.BodyRefused as refusal:
            return LaneBody(self, b"", refusal.code)


class LaneBody:
    """One request's `readings.ingest.way.Body`, still encoded. `refused` is the code of its refusal, or ""."""

    def __init__(self, way: SharedWay, sent: bytes, refused: str = "") -> None:
        self.way, self.sent, self.refused = way, sent, refused
        self.encoding = bodies.content_encoding(way.scope["headers"])

    async def decoded(self, decode: Decode, *, caller: str) -> Posted:
        if self.refused:
            return decode(b"", self.refused)
        try:
            body = bodies.decode_light(self.sent, self.encoding)
        except bodies.BodyRefused as refusal:
            return decode(b"", refusal.code)
        if body is None or not is_light(body):
            return await cpu_pool.run(caller, partial(self.inflated_and_decoded, decode))
        self.check_room(body)
        return decode(body, "")

    def inflated_and_decoded(self, decode: Decode) -> Posted:
        """Runs in the thread. Inflates and decodes in one step, so that bodies that wait are not inflated yet."""
        try:
            body = bodies.decode(self.sent, self.encoding, self.way.limit)
        except bodies.BodyRefused as refusal:
            return decode(b"", refusal.code)
        self.check_room(body)
        return decode(body, "")

    def check_room(self, body: bytes) -> None:
        """Refuses a body that the queue has no room for, before decoding, the most costly step. Each object counts."""
        self.way.shared.committer.check_room(body.count(b"{"))


# Headers that ingest and its error answers use, by their name in META; x-request-id is for the request id.
ASKED_FOR = {
    b"x-api-key": "HTTP_X_API_KEY",
    b"authorization": "HTTP_AUTHORIZATION",
    b"content-type": "CONTENT_TYPE",
    b"accept": "HTTP_ACCEPT",
    b"accept-encoding": "HTTP_ACCEPT_ENCODING",
    b"x-request-id": "HTTP_X_REQUEST_ID",
}


class LaneRequest(HttpRequest):
    """The parts of a request that ingest uses: method, path, few headers. Parsing more takes Django 50 µs."""

    def __init__(self, scope: HTTPScope, way: SharedWay) -> None:
        self.scope = scope
        self.way = way
        self.method = scope["method"]
        self.path = self.path_info = scope["path"]
        client = scope.get("client")
        self.META = {
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "REMOTE_ADDR": str(client[0]) if client else "",
        }
        for name, value in scope["headers"]:
            if key := ASKED_FOR.get(name):
                text = value.decode("latin-1")
                self.META[key] = f"{self.META[key]},{text}" if key in self.META else text


class IngestLane:
    """ASGI middleware: answers POSTs to the ingest endpoints and passes other requests to `application`."""

    def __init__(self, application: ASGI3Application, *, limit: int) -> None:
        self.application = application
        self.limit = limit
        self.shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared] = WeakKeyDictionary()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        view = VIEWS.get(scope["path"].rstrip("/")) if scope["type"] == "http" and scope["method"] == "POST" else None
        if view is None:
            await self.application(scope, receive, send)
            return
        await self.answer(view, scope, receive, send)  # type: ignore[arg-type]

    async def answer(self, view: Any, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        arrived_at = time.perf_counter()
        loop = asyncio.get_running_loop()
        if (shared := self.shared.get(loop)) is None:
            shared = self.shared[loop] = Shared()
        request = LaneRequest(scope, SharedWay(shared, scope, receive, self.limit))
        identifier = begin_request(request.META.get("HTTP_X_REQUEST_ID", ""))
        try:
            response: HttpResponse = await view(request)
            if isinstance(response, SimpleTemplateResponse):
                response.render()
        except bodies.ClientDisconnected:
            return
        except Exception:
            logger.exception("Ingest failed: %s", scope["path"])
            response = problems.server_error(request)
        if is_compressible(request, response):
            if len(response.content) > LIGHT_ANSWER_BYTES:
                await asyncio.to_thread(compress, response)
            else:
                compress(response)
        observe(request, response.status_code, ROUTES[view], arrived_at)
        body = response.content
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
        headers += [(b"content-length", str(len(body)).encode()), (b"x-request-id", identifier.encode())]
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": headers, "trailers": False}
        )
        await send({"type": "http.response.body", "body": body, "more_body": False})

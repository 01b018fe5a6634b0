"""The ingest lane answers the endpoints of ingest and of the doors without Django's request handling.

Under ASGI, Django uses a thread for every request, switches to it for each sync middleware and signal, and writes the
body to a temporary file. Ingest needs none of that.
"""

import asyncio
import logging
import re
import time
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from django.http import HttpRequest, HttpResponse
from django.template.response import SimpleTemplateResponse

from devices import cpu_pool
from devices.access.callers import Caller
from readings import urls as readings_urls
from readings.doors import urls as doors_urls
from readings.ingest.posting import PostingViewSet
from readings.ingest.way import JSON, Decode, Format, P
from telemetry.gateway import bodies
from telemetry.gateway.sharing import LaneSharing, Shared
from telemetry.middleware import problems
from telemetry.middleware.access_log import observe
from telemetry.middleware.compression import compress, is_compressible
from telemetry.middleware.request_id import begin_request
from telemetry.monitoring.redaction import HIDDEN

logger = logging.getLogger(__name__)


class Route(NamedTuple):
    """A view with the methods that the lane answers; `name` is that of the route in the URL configuration."""

    name: str
    view: Any
    methods: tuple[str, ...]


def routes() -> dict[str, Route]:
    """The routes of the lane, by path: those of ingest and of the doors, as the URL configuration has them."""
    found = {}
    for prefix, patterns in (("/api/v1/", readings_urls.urlpatterns), ("/", doors_urls.urlpatterns)):
        for pattern in patterns:
            actions = getattr(pattern.callback, "actions", {})
            if issubclass(getattr(pattern.callback, "cls", object), PostingViewSet):
                methods = tuple(method.upper() for method in actions)
                found[f"{prefix}{pattern.pattern}"] = Route(str(pattern.name), pattern.callback, methods)
    return found


ROUTES = routes()
# The only routes with a part that varies: ThingsBoard's, which have the key in their addresses.
KEY_ROUTES = {name: ROUTES.pop(f"/api/v1/<key:key>/{name}") for name in ("telemetry", "attributes")}
KEY_PATH = re.compile(rf"/api/v1/({doors_urls.KeyConverter.regex})/({'|'.join(KEY_ROUTES)})/*")
# An answer of at most this size is compressed on the event loop, which takes a millisecond.
LIGHT_ANSWER_BYTES = 64 * 1024


class SharedWay(LaneSharing):
    """One request's `readings.ingest.way.Way`, which uses the objects that all requests share."""

    def __init__(self, shared: Shared, scope: HTTPScope, receive: ASGIReceiveCallable, limit: int) -> None:
        super().__init__(shared)
        self.scope = scope
        self.receive = receive
        self.limit = limit

    async def caller(self, key: str) -> Caller | None:
        return await self.shared.resolver.caller(key)

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

    async def decoded(self, decode: Decode[P], *, caller: str, form: Format = JSON) -> P:
        if self.refused:
            return decode(b"", self.refused)
        try:
            body = bodies.decode_light(self.sent, self.encoding)
        except bodies.BodyRefused as refusal:
            return decode(b"", refusal.code)
        if body is None or not form.is_light(body):
            return await cpu_pool.run(caller, partial(self.inflated_and_decoded, decode, form))
        self.check_room(form.count(body))
        return decode(body, "")

    def inflated_and_decoded(self, decode: Decode[P], form: Format) -> P:
        """Runs in the thread. Inflates and decodes in one step, so that bodies that wait are not inflated yet."""
        try:
            body = bodies.decode(self.sent, self.encoding, self.way.limit)
        except bodies.BodyRefused as refusal:
            return decode(b"", refusal.code)
        self.check_room(form.count(body))
        return decode(body, "")

    def check_room(self, count: int) -> None:
        """Refuses a body that the queue has no room for, before decoding, the most costly step."""
        self.way.shared.committer.check_room(count)


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
            "QUERY_STRING": scope["query_string"].decode("latin-1"),
            "REMOTE_ADDR": str(client[0]) if client else "",
        }
        for name, value in scope["headers"]:
            if key := ASKED_FOR.get(name):
                text = value.decode("latin-1")
                self.META[key] = f"{self.META[key]},{text}" if key in self.META else text


class IngestLane:
    """ASGI middleware: answers the requests of ROUTES and passes other requests to `application`."""

    def __init__(self, application: ASGI3Application, *, limit: int) -> None:
        self.application = application
        self.limit = limit
        self.shared: WeakKeyDictionary[asyncio.AbstractEventLoop, Shared] = WeakKeyDictionary()

    def shared_objects(self) -> Shared:
        """The objects that requests of the running event loop share."""
        loop = asyncio.get_running_loop()
        if (shared := self.shared.get(loop)) is None:
            shared = self.shared[loop] = Shared()
        return shared

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] == "http" and (route := ROUTES.get(scope["path"].rstrip("/"))):
            if scope["method"] in route.methods:
                await self.answer(route, scope, receive, send)
                return
        elif scope["type"] == "http" and scope["method"] == "POST" and (match := KEY_PATH.fullmatch(scope["path"])):
            # No later code may log the address as it came.
            path = f"/api/v1/{HIDDEN}/{match[2]}"
            hidden: HTTPScope = scope | {"path": path, "raw_path": path.encode()}
            await self.answer(KEY_ROUTES[match[2]], hidden, receive, send, key=match[1])
            return
        await self.application(scope, receive, send)

    async def answer(
        self, route: Route, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable, **parts: str
    ) -> None:
        arrived_at = time.perf_counter()
        shared = self.shared_objects()
        request = LaneRequest(scope, SharedWay(shared, scope, receive, self.limit))
        identifier = begin_request(request.META.get("HTTP_X_REQUEST_ID", ""))
        try:
            response: HttpResponse = await route.view(request, **parts)
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
        observe(request, response.status_code, route.name, arrived_at)
        body = response.content
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in response.items()]
        headers.append((b"x-request-id", identifier.encode()))
        if response.status_code != 204:  # which has no body and no length (RFC 9110, section 8.6)
            headers.append((b"content-length", str(len(body)).encode()))
        await send(
            {"type": "http.response.start", "status": response.status_code, "headers": headers, "trailers": False}
        )
        body = b"" if scope["method"] == "HEAD" else body
        await send({"type": "http.response.body", "body": body, "more_body": False})

"""Middleware around every request: its id, and the slash that API paths may end with."""

import random
import re
from collections.abc import Awaitable, Callable
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devices.access.current import calling_device
from telemetry.monitoring.logging import request_id as current_request_id
from telemetry.monitoring.redaction import redacted

GetResponse = Callable[[HttpRequest], HttpResponseBase]
AsyncGetResponse = Callable[[HttpRequest], Awaitable[HttpResponseBase]]

ACCEPTED_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
PRIVATE = ("/api/", "/live/", "/metrics")
SLASH_OPTIONAL = ("/api/", "/health", "/metrics", "/docs", "/redoc", "/guide")


class Middleware:
    """Calls `before` and `after` around a request, on either kind of handler, without a thread of its own."""

    async_capable = sync_capable = True

    def __init__(self, get_response: GetResponse | AsyncGetResponse) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if iscoroutinefunction(self.get_response):
            return self.acall(request)
        self.before(request)
        return self.after(request, cast(GetResponse, self.get_response)(request))

    async def acall(self, request: HttpRequest) -> HttpResponseBase:
        self.before(request)
        return self.after(request, await cast(AsyncGetResponse, self.get_response)(request))

    def before(self, request: HttpRequest) -> None:
        """Changes the request on its way in."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Changes the response on its way out."""
        return response


def begin_request(given: str) -> str:
    """The id of the request that begins: the given one where it can be taken, else a new one. For this task alone."""
    # One who took the wrong header for the key shall not find it in every line and answer.
    taken = ACCEPTED_REQUEST_ID.fullmatch(given) and redacted(given) == given
    identifier = given if taken else f"{random.getrandbits(128):032x}"
    current_request_id.set(identifier)
    calling_device.set("")
    return identifier


class RequestId(Middleware):
    """`X-Request-ID` in, out, and in every log line between; made up where the client sends none."""

    def before(self, request: HttpRequest) -> None:
        begin_request(request.headers.get("X-Request-ID", ""))

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["X-Request-ID"] = current_request_id.get()
        return response


class Private(Middleware):
    """What a key or a session was answered is kept by no cache: one keyed by address would give it to the next.

    Any answer counts that was made with a look at the session: the navigation on every page has the account's name.
    """

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        session = getattr(request, "session", None)
        if request.path_info.startswith(PRIVATE) or (session is not None and session.accessed):
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class OptionalSlash(Middleware):
    """`/api/v1/ingest/` is `/api/v1/ingest`: answered at once, since clients drop a redirected POST's body."""

    def before(self, request: HttpRequest) -> None:
        if request.path_info.startswith(SLASH_OPTIONAL):
            request.path_info = request.path_info.rstrip("/")

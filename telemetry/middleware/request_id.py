"""Middleware for the request id, private caching and optional slashes, and their base class."""

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
    """Base class: calls `before` and `after` around a request, in sync and async handlers, without a thread."""

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
    """Sets and returns the request id of the current task: `given` if it is valid, else a random one."""
    # A client may have sent its key in the wrong header; then it must not appear in log lines and answers.
    taken = ACCEPTED_REQUEST_ID.fullmatch(given) and redacted(given) == given
    identifier = given if taken else f"{random.getrandbits(128):032x}"
    current_request_id.set(identifier)
    calling_device.set("")
    return identifier


class RequestId(Middleware):
    """Takes `X-Request-ID` from the request or makes one up; sets it on the response and on every log line."""

    def before(self, request: HttpRequest) -> None:
        begin_request(request.headers.get("X-Request-ID", ""))

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        response["X-Request-ID"] = current_request_id.get()
        return response


class Private(Middleware):
    """Forbids caches to store answers for a key or session: a cache keyed by URL would give them to other clients.

    Every answer that used the session counts, because the navigation on every page shows the account's name.
    """

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        session = getattr(request, "session", None)
        if request.path_info.startswith(PRIVATE) or (session is not None and session.accessed):
            response.headers.setdefault("Cache-Control", "private, no-store")
        return response


class OptionalSlash(Middleware):
    """Treats `/api/v1/ingest/` as `/api/v1/ingest`, without a redirect, because clients drop a redirected body."""

    def before(self, request: HttpRequest) -> None:
        if request.path_info.startswith(SLASH_OPTIONAL):
            request.path_info = request.path_info.rstrip("/")

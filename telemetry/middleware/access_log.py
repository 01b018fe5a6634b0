"""Counts and times every request by its route, and logs it in one line."""

import logging
import time
from urllib.parse import quote

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devices.access.callers import Caller
from readings.ingest.refused_posts import plain
from telemetry.middleware.request_id import Middleware
from telemetry.monitoring.instruments import METHODS, REQUESTS

logger = logging.getLogger("telemetry.requests")

# Routes with many similar requests, which metrics describe better: logged at DEBUG unless they fail.
QUIET = frozenset(
    {
        *("ingest", "ingest-batch", "influx-write", "influx-write-v1", "influx-ping"),
        *("lorawan-ttn", "lorawan-chirpstack", "thingsboard", "thingsboard-attributes"),
        *("static", "health", "api-health", "health-live", "health-ready", "metrics"),
    }
)
PATH_CHARACTERS = 256
# Characters of the reason why a request was refused.
REASON_CHARACTERS = 200


class Observed(Middleware):
    """Logs every request that Django's handler answers. The ingest lane logs its own."""

    def before(self, request: HttpRequest) -> None:
        request.arrived_at = time.perf_counter()  # type: ignore[attr-defined]

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        observe(request, response.status_code, route_of(request), request.arrived_at)  # type: ignore[attr-defined]
        return response


def route_of(request: HttpRequest) -> str:
    """The name of the route in the URL configuration; "static", or "none" if no route matched."""
    if match := request.resolver_match:
        return match.view_name or match.route
    return "static" if request.path_info.startswith("/static/") else "none"


def observe(request: HttpRequest, status: int, route: str, arrived_at: float) -> None:
    """Counts and logs a request that was answered. `arrived_at` is a time of `time.perf_counter`."""
    seconds = time.perf_counter() - arrived_at
    method = request.method if request.method in METHODS else "other"
    REQUESTS.count(route, method, status, seconds)
    level = logging.DEBUG if status < 400 and route in QUIET else logging.INFO
    if not logger.isEnabledFor(level):
        return
    # Percent-encoded, because a decoded path can contain line ends.
    path = quote(request.path[:PATH_CHARACTERS], safe="/:")
    extra = {
        "method": method,
        "path": path,
        "route": route,
        "status": status,
        "duration_ms": round(seconds * 1000, 1),
        "client": request.META.get("REMOTE_ADDR", ""),
    }
    if caller := caller_of(request):
        extra["caller"] = caller
    if reason := getattr(request, "refused_because", ""):
        extra["reason"] = plain(reason, REASON_CHARACTERS)
    logger.log(level, "%s %s %s", method, path, status, extra=extra)


def caller_of(request: HttpRequest) -> str:
    """`device`, `fleet`, `admin`, `token:name` or, for a signed-in account, `user:name`; "" for an unknown caller."""
    # Set by DRF's authentication.
    caller = getattr(request, "auth", None)
    if isinstance(caller, Caller):
        if caller.token is not None:
            return f"token:{caller.token.name}"
        return f"user:{caller.user.get_username()}" if caller.user else caller.role.value
    # Only if the session's account was loaded already: loading it here would be a query.
    user = getattr(request, "_cached_user", None)
    return f"user:{user.get_username()}" if user is not None and user.is_authenticated else ""

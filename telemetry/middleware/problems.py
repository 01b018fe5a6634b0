"""Errors as RFC 9457 problem documents for the API, and as a short HTML page for browsers."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, DataError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.csrf import requires_csrf_token
from rest_framework import exceptions, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from devices.database.errors import WORDS, Trouble, attribute_of, trouble_of, words_of
from telemetry.databases.cancellation import ClientGone
from telemetry.middleware.request_id import Middleware
from telemetry.monitoring.logging import request_id
from telemetry.monitoring.redaction import credentials_in, redacted
from telemetry.password_hashing import TooManyHashes

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    413: "Body too large",
    415: "Unsupported media type",
    422: "Invalid values",
    429: "Too many requests",
    431: "Request head too large",
    499: "Client gone",
    500: "Internal error",
    503: "Unavailable",
}
UNDEFINED_TABLE = "42P01"  # PostgreSQL, appendix A
RETRY_AFTER_SECONDS = 5

NO_TABLES = "The database has no tables yet (no such table). Create them: python manage.py migrate"
NOT_JSON = "Send JSON, with the header Content-Type: application/json."
NO_KEY = "Send an API key in the header X-API-Key."


class Unavailable(exceptions.APIException):
    detail: exceptions.ErrorDetail
    status_code: int = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = Trouble.UNREACHABLE.value
    default_detail = WORDS[Trouble.UNREACHABLE]


class Abandoned(Unavailable):
    """The client has left. Nobody reads this answer; its status separates it from failures in log and metrics."""

    status_code = 499
    default_code = "client_gone"
    default_detail = "The client has left."


class Problems(Middleware):
    """Problem documents for views without DRF: for a wrong method, and for a database that is unavailable or busy."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if settings.DEBUG and response.status_code >= 400 and isinstance(response, HttpResponse):
            # Django's own error pages show the request and all local variables, so hide keys in them.
            page = response.content.decode(errors="replace")
            response.content = redacted(page, brought=credentials_in(request)).encode()
            response.headers["Content-Length"] = str(len(response.content))
        if not isinstance(response, HttpResponseNotAllowed):
            return response
        detail = f"Method {request.method} is not allowed here."
        refusal = answer(request, status_code=405, code="method_not_allowed", detail=detail)
        refusal["Allow"] = response["Allow"]
        return refusal

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if isinstance(exception, DataError) and not request.path.startswith("/api/"):
            # The console's filters pass any text to the database, and PostgreSQL rejects a NUL.
            detail = "The address contains a value that the database cannot store."
            return answer(request, status_code=400, code="bad_request", detail=detail)
        if isinstance(exception, TooManyHashes):
            refusal = answer(request, status_code=429, code="too_many_sign_ins", detail=str(exception))
            refusal["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return refusal
        unavailable = as_unavailable(exception)
        if unavailable is None:
            return None
        code, detail = str(unavailable.detail.code), str(unavailable.detail)
        return answer(request, status_code=unavailable.status_code, code=code, detail=detail)


def as_unavailable(error: BaseException) -> Unavailable | None:
    """The 503 (or 499) for a database error that may pass; None for errors that are faults of this code."""
    if isinstance(error, ClientGone):
        return Abandoned()
    if isinstance(error, DatabaseError) and (
        "no such table" in str(error) or attribute_of(error, "sqlstate") == UNDEFINED_TABLE
    ):
        logger.error(NO_TABLES, exc_info=error)
        return Unavailable(NO_TABLES, code="no_tables")
    if (trouble := trouble_of(error)) is None:
        return None
    logger.error("%s (%s)", WORDS[trouble], words_of(error))
    return Unavailable(WORDS[trouble], code=trouble.value)


def document(*, status_code: int, code: str, detail: str, **members: Any) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": TITLES.get(status_code, "Error"),
        "status": status_code,
        "detail": detail,
        "code": code,
        "request_id": request_id.get(),
        **members,
    }


def exception_handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's `EXCEPTION_HANDLER`: turns every error of an API view into `application/problem+json`.

    Invalid values are a 422. If an error has an attribute `problem_members`, these are added to the document. Returns
    None for an unexpected exception, which Django logs and `server_error` answers.
    """
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, exceptions.UnsupportedMediaType) and error.detail.code == "unsupported_media_type":  # type: ignore[union-attr]
        error.detail = exceptions.ErrorDetail(NOT_JSON, code="unsupported_media_type")
    elif isinstance(error, exceptions.NotAuthenticated):
        error.detail = exceptions.ErrorDetail(NO_KEY, code="not_authenticated")
    elif isinstance(error, DjangoPermissionDenied):
        error = exceptions.PermissionDenied()
    if (unavailable := as_unavailable(error)) is not None:
        # A view can say what the failure means for its request.
        if consequence := getattr(context.get("view"), "when_unavailable", ""):
            unavailable.detail = exceptions.ErrorDetail(f"{unavailable.detail} {consequence}", unavailable.detail.code)
        error = unavailable
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    members: dict[str, Any] = dict(getattr(error, "problem_members", {}))
    code, detail, status_code = str(getattr(error.detail, "code", "")), str(error.detail), error.status_code
    if isinstance(error, exceptions.ValidationError):
        members.setdefault("errors", list(field_errors(error.detail)))
        first = members["errors"][0]
        code, status_code = "invalid", status.HTTP_422_UNPROCESSABLE_ENTITY
        detail = f"{first['field']}: {first['detail']}" if first["field"] else first["detail"]
    elif isinstance(error, exceptions.ParseError) and code == "parse_error":
        code = "malformed"
    response = Response(
        document(status_code=status_code, code=code, detail=detail, **members),
        status=status_code,
        content_type=MEDIA_TYPE,
    )
    if auth_header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = auth_header
    wait = getattr(error, "wait", None)
    if wait is not None or status_code == 503:
        response["Retry-After"] = str(int(wait or RETRY_AFTER_SECONDS))
    return response


def field_errors(detail: Any, path: str = "") -> Iterator[dict[str, str]]:
    """`{field, code, detail}` for every error in DRF's nested detail; `field` is "" for the whole body."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from field_errors(inner, path if name == "non_field_errors" else f"{path}.{name}".lstrip("."))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for inner in detail:
            yield from field_errors(inner, path)
    else:
        yield {"field": path, "code": str(getattr(detail, "code", "invalid")), "detail": str(detail)}


def answer(request: HttpRequest, *, status_code: int, code: str, detail: str) -> HttpResponse:
    """An error outside the API's views: an HTML page if the client accepts HTML, else a problem document."""
    response: HttpResponse
    if "text/html" in request.headers.get("Accept", "") and not request.path.startswith("/api/"):
        context = {"title": TITLES[status_code], "detail": detail, "request_id": request_id.get()}
        response = render(request, "telemetry/error.html", context, status=status_code)
    else:
        body = msgspec.json.encode(document(status_code=status_code, code=code, detail=detail))
        response = HttpResponse(body, status=status_code, content_type=MEDIA_TYPE)
    if status_code == 503:
        response["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


@requires_csrf_token
def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    # For the access log; Django's own log of it, with a traceback, is switched off (telemetry.monitoring.logging).
    request.refused_because = f"{type(exception).__name__}: {exception}"  # type: ignore[attr-defined]
    if isinstance(exception, RequestDataTooBig):
        return answer(request, status_code=413, code="body_too_large", detail="The body is larger than the limit.")
    detail = "The request is not valid. If the server has a new host name, add it to ALLOWED_HOSTS."
    return answer(request, status_code=400, code="bad_request", detail=detail)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """`CSRF_FAILURE_VIEW`: a console form that came from another site or from an outdated page."""
    request.refused_because = reason  # type: ignore[attr-defined]
    detail = "The form has no valid token, or it was sent from another site. Load the page again."
    return answer(request, status_code=403, code="csrf_failed", detail=detail)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(
        request,
        status_code=403,
        code="permission_denied",
        detail="This account does not have the permission to do this.",
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return answer(request, status_code=404, code="not_found", detail="There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponse:
    detail = "The server failed. Its log has the cause under this request id."
    return answer(request, status_code=500, code="internal_error", detail=detail)

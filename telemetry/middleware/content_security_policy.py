"""The Content-Security-Policy of every answer: what a page may load, run and connect to is ours alone."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from telemetry.middleware.request_id import Middleware

POLICY = {
    "default-src": "'self'",
    # Django's admin and Swagger UI have small pictures in their style sheets.
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# Redoc's bundle writes its styles into the page (styled-components) and searches in a worker made of a string. It shows
# the schema and the bar, no data.
REDOC = POLICY | {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"}


def header(policy: dict[str, str]) -> str:
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


HEADER, HEADER_OF_REDOC = header(POLICY), header(REDOC)


class ContentSecurityPolicy(Middleware):
    """No page of ours has a script or a style in it, so none that somebody else put there runs."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        redoc = request.path_info.rstrip("/") == "/redoc"
        response.headers.setdefault("Content-Security-Policy", HEADER_OF_REDOC if redoc else HEADER)
        return response

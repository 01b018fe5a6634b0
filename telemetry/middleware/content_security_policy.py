"""The Content-Security-Policy of every answer: pages load, run and connect to nothing but this server."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from telemetry.middleware.request_id import Middleware

POLICY = {
    "default-src": "'self'",
    # Django's admin and Swagger UI embed small pictures in their style sheets.
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# Redoc's bundle adds inline styles (styled-components) and runs its search in a worker made from a string. Its page
# shows the schema and the navigation, but no data.
REDOC = POLICY | {"style-src": "'self' 'unsafe-inline'", "worker-src": "blob:"}


def header(policy: dict[str, str]) -> str:
    return "; ".join(f"{directive} {sources}" for directive, sources in policy.items())


HEADER, HEADER_OF_REDOC = header(POLICY), header(REDOC)


class ContentSecurityPolicy(Middleware):
    """Sets the policy. Our pages have no inline script or style, so an injected one does not run."""

    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        redoc = request.path_info.rstrip("/") == "/redoc"
        response.headers.setdefault("Content-Security-Policy", HEADER_OF_REDOC if redoc else HEADER)
        return response

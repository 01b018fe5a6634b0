from threading import Lock
from typing import Any

from drf_spectacular.views import SpectacularAPIView
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response

from telemetry.openapi import hooks  # noqa: F401  registers the schema extensions


class SchemaView(SpectacularAPIView):
    """The OpenAPI document as YAML or JSON. One request at a time, as drf-spectacular is not thread-safe here."""

    content_negotiation_class = DefaultContentNegotiation
    lock = Lock()

    def _get_schema_response(self, request: Request) -> Response:
        with self.lock:
            response: Any = super()._get_schema_response(request)  # type: ignore[no-untyped-call]
        return response  # type: ignore[no-any-return]

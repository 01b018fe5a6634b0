"""Compresses answers of the API over 1 KiB with gzip: docs/decisions/0041-compress-answers-of-the-api.md

CSV exports are streamed, so `readings.history.csv_export` compresses them itself, with `devices.api.compression`.
"""

import gzip
from typing import cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from devices.api.compression import LEVEL, accepts_gzip
from telemetry.middleware.request_id import AsyncGetResponse, Middleware

# Larger answers are compressed.
BYTES_MIN = 1024


class Compression(Middleware):
    def after(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if is_compressible(request, response):
            compress(cast(HttpResponse, response))
        return response

    async def acall(self, request: HttpRequest) -> HttpResponseBase:
        """Compresses in the request's thread, because a large answer would block the event loop."""
        response = await cast(AsyncGetResponse, self.get_response)(request)
        if is_compressible(request, response):
            await sync_to_async(compress)(cast(HttpResponse, response))
        return response


def is_compressible(request: HttpRequest, response: HttpResponseBase) -> bool:
    """Whether the answer should be compressed. Adds `Vary` if this depends on the client.

    Answers to POST, PATCH and DELETE are not compressed, because those with a new key or a ticket would have a secret
    beside text of the request (BREACH). The answers of ingest have no secrets.
    """
    if not isinstance(response, HttpResponse) or len(response.content) <= BYTES_MIN or "Content-Encoding" in response:
        return False
    path = request.path_info
    if not path.startswith("/api/v1/ingest") and (
        request.method not in ("GET", "HEAD") or not path.startswith("/api/")
    ):
        return False
    patch_vary_headers(response, ["Accept-Encoding"])
    return accepts_gzip(request.META.get("HTTP_ACCEPT_ENCODING", ""))


def compress(response: HttpResponse) -> None:
    response.content = gzip.compress(response.content, LEVEL, mtime=0)
    response["Content-Encoding"] = "gzip"
    if "Content-Length" in response:  # in the ingest lane it is added later
        response["Content-Length"] = str(len(response.content))

"""Limits and decodes request bodies before Django sees them.

What daphne itself buffers is limited by `telemetry.server.daphne_http`.
"""

import zlib
from collections.abc import Iterable
from functools import partial

import msgspec
from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, HTTPScope, Scope
from rest_framework.exceptions import APIException

from devices import cpu_pool
from devices.api.json_decoding import LIGHT_BYTES_MAX, body_refusal
from devices.cpu_pool import TooManyLargeBodies
from telemetry.middleware.problems import MEDIA_TYPE, document
from telemetry.middleware.request_id import begin_request
from telemetry.monitoring.instruments import METHODS, REQUESTS

# A body is read, and discarded, up to this multiple of the limit, so that the client gets the answer.
DISCARD_FACTOR = 4


# A gzip file may have several members (RFC 1952, 2.2). Each further member costs a copy of the remaining bytes.
GZIP_MEMBERS_MAX = 16


class BodyRefused(Exception):
    """The body is refused. `code` is `body_too_large`, `malformed_gzip` or `unsupported_encoding`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class BoundedBodies:
    """ASGI middleware: limits a body while it streams in, inflates gzip, and gives a chunked body a Content-Length.

    Without it, Django writes a body of any size to disk before it calls a view, and DRF takes a body without
    Content-Length for an empty one. If a body is refused, an API view gets an empty body and the reason in
    `scope["body_refused"]`; the parser raises it after authentication, so that a 401 comes first. Other paths are
    answered here. `limit` is in bytes.
    """

    def __init__(self, application: ASGI3Application, *, limit: int) -> None:
        self.application = application
        self.limit = limit

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self.application(scope, receive, send)
            return
        body, code, headers = b"", "", list(scope["headers"])
        client = scope.get("client")
        try:
            body = await read(receive, self.limit)
            body = await inflate(body, content_encoding(headers), self.limit, caller=client[0] if client else "")
        except ClientDisconnected:
            return
        except TooManyLargeBodies as refusal:
            await refuse(send, refusal, method=scope["method"])
            return
        except BodyRefused as refusal:
            code = refusal.code
            body = b""
        if code and not scope["path"].startswith("/api/"):
            await refuse(send, body_refusal(code), method=scope["method"])
            return
        # For a refused body the length must be above zero, because otherwise DRF does not call the parser.
        length = b"1" if code else str(len(body)).encode()
        headers = [(name, value) for name, value in headers if name not in (b"content-length", b"content-encoding")]
        if body or code:
            headers.append((b"content-length", length))
        inner: HTTPScope = scope | {"headers": headers, "body_refused": code}  # type: ignore[assignment]
        await self.application(inner, replay(body, receive), send)


async def read(receive: ASGIReceiveCallable, limit: int) -> bytes:
    chunks: list[bytes] = []
    size, more = 0, True
    while more and size <= limit * DISCARD_FACTOR:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnected
        assert event["type"] == "http.request"
        chunk = event.get("body", b"")
        more = event.get("more_body", False)
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        else:
            chunks.clear()
    if size > limit:
        raise BodyRefused("body_too_large")
    return b"".join(chunks)


async def inflate(body: bytes, encoding: bytes, limit: int, *, caller: str) -> bytes:
    """Decodes a body; one that becomes large is decoded in the thread of `devices.cpu_pool`.

    Raises BodyRefused, TooManyLargeBodies.
    """
    if (light := decode_light(body, encoding)) is not None:
        return light
    return await cpu_pool.run(caller, partial(decode, body, encoding, limit))


def decode_light(body: bytes, encoding: bytes) -> bytes | None:
    """The decoded body if it has at most LIGHT_BYTES_MAX bytes; None if it is larger. Raises BodyRefused."""
    if encoding in (b"", b"identity"):
        return body
    try:
        return decode(body, encoding, LIGHT_BYTES_MAX)
    except BodyRefused as refusal:
        if refusal.code == "body_too_large":
            return None
        raise


def decode(body: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"x-gzip"):
        raise BodyRefused("unsupported_encoding")
    inflated = bytearray()
    try:
        for _ in range(GZIP_MEMBERS_MAX):
            stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            inflated += stream.decompress(body, limit + 1 - len(inflated))
            if len(inflated) > limit:
                raise BodyRefused("body_too_large")
            if not stream.eof:
                raise BodyRefused("malformed_gzip")
            body = stream.unused_data
            if not body:
                return bytes(inflated)
    except zlib.error as error:
        raise BodyRefused("malformed_gzip") from error
    raise BodyRefused("malformed_gzip")


class ClientDisconnected(Exception):
    """The client disconnected before its body was complete."""


def content_encoding(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b",".join(value.strip().lower() for name, value in headers if name == b"content-encoding")


def replay(body: bytes, receive: ASGIReceiveCallable) -> ASGIReceiveCallable:
    """A `receive` that returns the whole body first, and then the server's events, such as a disconnect."""
    pending = True

    async def replayed() -> ASGIReceiveEvent:
        nonlocal pending
        if pending:
            pending = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replayed


async def refuse(send: ASGISendCallable, refusal: APIException, *, method: str) -> None:
    """Answers in place of the application, with the problem document of this error."""
    status, code, detail = refusal.status_code, str(refusal.get_codes()), str(refusal.detail)
    identifier = begin_request("")
    REQUESTS.count("none", method if method in METHODS else "other", status, 0.0)
    body = msgspec.json.encode(document(status_code=status, code=code, detail=detail))
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", identifier.encode()),
    ]
    if isinstance(refusal, TooManyLargeBodies):
        headers.append((b"retry-after", str(refusal.wait).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})

"""The JSON parser and renderer of all endpoints, based on msgspec."""

from collections.abc import Iterable
from typing import IO, Any

import msgspec
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer

from devices.api.json_decoding import MEDIA_TYPE, body_refusal, decode_document
from devices.cpu_pool import Pauses


class JSONParser(BaseParser):
    """Replaces DRF's parser, which decodes 1e999 as infinity and crashes on 100,000 nested brackets."""

    media_type = MEDIA_TYPE

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        refuse_body((parser_context or {}).get("request"))
        return decode_document(stream.read())


def refuse_body(request: Any) -> None:
    """Raises the error that the ASGI layer found while it received the body (`scope["body_refused"]`)."""
    scope: dict[str, Any] = getattr(getattr(request, "_request", None), "scope", {})
    if code := scope.get("body_refused", ""):
        raise body_refusal(code)


class JSONRenderer(BaseRenderer):
    media_type = MEDIA_TYPE
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else msgspec.json.encode(data, enc_hook=str)


def encoded_with(document: dict[str, Any], name: str, items: Iterable[Any]) -> bytes:
    """Encodes the document with one more member `name`, the array of these items. The document must not be empty.

    Each item is encoded separately, because encoding a large answer in one call would block the event loop. All go into
    one buffer, because many small buffers would fragment the memory of each request's thread.
    """
    pauses = Pauses()
    encoded = bytearray(msgspec.json.encode(document)[:-1])
    encoded += b',"%b":[' % name.encode()
    for place, item in enumerate(items):
        if place:
            encoded += b","
        encoded += msgspec.json.encode(item)
        pauses.pause()
    encoded += b"]}"
    return bytes(encoded)


class JSONUnlessAsked(DefaultContentNegotiation):
    """Always answers JSON, whatever `Accept` says, because small devices send odd headers and a 406 would not help."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type

"""JSON on the wire: strict in, quick out. What every endpoint speaks."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import IO, Any

import msgspec
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, UnsupportedMediaType, ValidationError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.utils.mediatypes import media_type_matches

from devices.cpu_pool import Pauses

decoder = msgspec.json.Decoder()
syntax = msgspec.json.Decoder(msgspec.Raw)  # reads a document without making objects of it
DIGITS_OF_A_DOUBLE = 309

# One JSON document that is no batch; 64 KiB of the worst take 3 ms to decode.
DOCUMENT_BYTES_MAX = 64 * 1024
# What is decoded on an event loop: a body of at most so many bytes and commas.
LIGHT_BYTES_MAX = 64 * 1024
LIGHT_COMMAS_MAX = 1_000


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = "The body is over the limit. Send it in parts."


def is_light(body: bytes) -> bool:
    """Whether decoding the body, and looking at each of its values, takes a few milliseconds at most."""
    return len(body) <= LIGHT_BYTES_MAX and body.count(b",") <= LIGHT_COMMAS_MAX


def decode_document(body: bytes) -> Any:
    """`decode_json` of one document of at most DOCUMENT_BYTES_MAX. Raises ParseError, ValidationError."""
    if len(body) > DOCUMENT_BYTES_MAX and len(body := body.strip()) > DOCUMENT_BYTES_MAX:
        check_syntax(body)
        detail = f"One JSON document is at most {DOCUMENT_BYTES_MAX} bytes; this one has {len(body)}."
        raise ValidationError({"": ErrorDetail(detail, code="document_too_large")})
    return decode_json(body)


def check_syntax(body: bytes) -> None:
    """Raises ParseError for what is no JSON. Takes 12 ms for 4 MiB of the worst, a tenth of decoding it."""
    try:
        syntax.decode(body)
    except RecursionError as error:
        raise nested_too_deeply() from error
    except ValueError as error:
        raise ParseError(f"The body is not JSON: {error}", code="malformed") from error


def nested_too_deeply() -> ParseError:
    return ParseError("The body is not JSON that can be read: nested too deeply.", code="malformed")


def decode_json(body: bytes) -> Any:
    """The decoded document. Of a name that stands twice in an object, the last value counts.

    A number that no double can hold (1e999) becomes an infinity, for whoever checks that value to refuse.
    Raises ParseError for what is no JSON (RFC 8259: no NaN, UTF-8 only, no lone surrogates) or is nested so
    deeply that it cannot be read.
    """
    if not body.strip():
        raise ParseError("The body is empty; JSON is expected.", code="malformed")
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            return decode_huge_numbers(body)
    except RecursionError as error:
        raise nested_too_deeply() from error
    except ValueError as error:  # of msgspec, json and the codecs alike
        raise ParseError(f"The body is not JSON: {error}", code="malformed") from error


def decode_huge_numbers(body: bytes) -> Any:
    """What msgspec refuses to decode whole: a document with a number out of range, which is one value's fault."""
    document = json.loads(body.decode(), parse_int=whole_number, parse_constant=refuse_constant)
    json.dumps(document, ensure_ascii=False).encode()  # fails on the lone surrogates that json lets through
    return document


def whole_number(digits: str) -> float:
    return int(digits) if len(digits) < DIGITS_OF_A_DOUBLE else float(digits)


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class JSONParser(BaseParser):
    """DRF's own parser lets 1e999 become infinity and fails on 100,000 brackets."""

    media_type = "application/json"

    def parse(self, stream: IO[bytes], media_type: str | None = None, parser_context: Any = None) -> Any:
        refuse_body((parser_context or {}).get("request"))
        return decode_document(stream.read())


def refuse_body(request: Any) -> None:
    """Raises what the ASGI layer found wrong with the body while it came in (`scope["body_refused"]`)."""
    scope: dict[str, Any] = getattr(getattr(request, "_request", None), "scope", {})
    if code := scope.get("body_refused", ""):
        raise body_refusal(code)


def body_refusal(code: str) -> APIException:
    """What `telemetry.gateway.bodies.BodyRefused` of this code means to the client."""
    match code:
        case "body_too_large":
            return BodyTooLarge()
        case "malformed_gzip":
            return ParseError("The body is no valid gzip.", code=code)
        case "unsupported_encoding":
            return UnsupportedMediaType("", "Content-Encoding can be gzip or absent.", code=code)
    raise ValueError(code)


def check_body(body: bytes, *, content_type: str, refused: str) -> None:
    """Raises as DRF's `request.data` does by `JSONParser` for a body of another type, and for one that was refused."""
    if not is_json(content_type) and (body or refused):
        raise UnsupportedMediaType(content_type)
    if refused:
        raise body_refusal(refused)


@lru_cache(64)
def is_json(content_type: str) -> bool:
    return media_type_matches(JSONParser.media_type, content_type)


class JSONRenderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else msgspec.json.encode(data, enc_hook=str)


def encoded_with(document: dict[str, Any], name: str, items: Iterable[Any]) -> bytes:
    """The document, which has members, with one more: the array of these items.

    Each item is encoded by itself, since to encode a large answer at once would stop the event loop; into one buffer,
    since many small ones would leave holes in the memory of each request's thread.
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
    """Answers JSON whatever `Accept` says: small devices send odd headers, and a 406 helps nobody."""

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type

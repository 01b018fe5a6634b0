"""Decodes JSON documents with msgspec, and refuses bodies.

It imports of DRF only the errors: `manage.py mqtt` decodes JSON too, and DRF's parsers take 9 MB of memory.
"""

import json
from codecs import BOM_UTF8
from functools import lru_cache
from typing import Any

import msgspec
from rest_framework import status
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, UnsupportedMediaType, ValidationError
from rest_framework.utils.mediatypes import media_type_matches

MEDIA_TYPE = "application/json"

decoder = msgspec.json.Decoder()
syntax = msgspec.json.Decoder(msgspec.Raw)  # checks a document without creating objects from it
DIGITS_OF_A_DOUBLE = 309

# Maximum size of a JSON document other than a batch; decoding the slowest 64 KiB takes 3 ms.
DOCUMENT_BYTES_MAX = 64 * 1024
# A body of at most this many bytes and commas is decoded on the event loop.
LIGHT_BYTES_MAX = 64 * 1024
LIGHT_COMMAS_MAX = 1_000


class BodyTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "body_too_large"
    default_detail = "The body is larger than the limit. Send it in parts."


def is_light(body: bytes) -> bool:
    """Whether decoding the body and checking each of its values takes a few milliseconds at most."""
    return len(body) <= LIGHT_BYTES_MAX and body.count(b",") <= LIGHT_COMMAS_MAX


def decode_document(body: bytes) -> Any:
    """`decode_json` for a document of at most DOCUMENT_BYTES_MAX bytes.

    A byte order mark before it is ignored (RFC 8259, section 8.1).
    Raises ParseError, and ValidationError (code `document_too_large`) for a longer document.
    """
    body = body.removeprefix(BOM_UTF8)
    if len(body) > DOCUMENT_BYTES_MAX and len(body := body.strip()) > DOCUMENT_BYTES_MAX:
        check_syntax(body)
        detail = f"A JSON document may have at most {DOCUMENT_BYTES_MAX} bytes; this one has {len(body)}."
        raise ValidationError({"": ErrorDetail(detail, code="document_too_large")})
    return decode_json(body)


def check_syntax(body: bytes) -> None:
    """Raises ParseError if the body is not JSON. The slowest 4 MiB take 12 ms, a tenth of the time to decode them."""
    try:
        syntax.decode(body)
    except RecursionError as error:
        raise nested_too_deeply() from error
    except ValueError as error:
        raise ParseError(f"The body is not JSON: {error}", code="malformed") from error


def nested_too_deeply() -> ParseError:
    return ParseError("The body cannot be decoded as JSON: it is nested too deeply.", code="malformed")


def decode_json(body: bytes) -> Any:
    """The decoded document. If a name occurs twice in an object, the last value counts.

    A number beyond the range of a double (1e999) becomes an infinity; the check of that value must refuse it.
    Raises ParseError if the body is not JSON (RFC 8259: no NaN, only UTF-8, no lone surrogates), or is nested too
    deeply to be decoded.
    """
    if not body.strip():
        raise ParseError("The body is empty, but JSON is expected.", code="malformed")
    try:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError:
            return decode_huge_numbers(body)
    except RecursionError as error:
        raise nested_too_deeply() from error
    except ValueError as error:  # raised by msgspec, json and the codecs
        raise ParseError(f"The body is not JSON: {error}", code="malformed") from error


def decode_huge_numbers(body: bytes) -> Any:
    """Decodes a document with a number out of range, which msgspec refuses as a whole. Raises ValueError."""
    document = json.loads(body.decode(), parse_int=whole_number, parse_constant=refuse_constant)
    json.dumps(document, ensure_ascii=False).encode()  # raises an error for lone surrogates, which json accepts
    return document


def whole_number(digits: str) -> float:
    return int(digits) if len(digits) < DIGITS_OF_A_DOUBLE else float(digits)


def refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def body_refusal(code: str) -> APIException:
    """The API error for a code of `telemetry.gateway.bodies.BodyRefused`. Raises ValueError for any other code."""
    match code:
        case "body_too_large":
            return BodyTooLarge()
        case "malformed_gzip":
            return ParseError("The body is not valid gzip.", code=code)
        case "unsupported_encoding":
            return UnsupportedMediaType("", "Content-Encoding must be gzip or absent.", code=code)
    raise ValueError(code)


def check_body(body: bytes, *, content_type: str, refused: str) -> None:
    """Raises the errors that DRF's `request.data` raises with `devices.api.json.JSONParser`.

    These are UnsupportedMediaType for a body of another type, and the errors of `body_refusal`.
    """
    if not is_json(content_type) and (body or refused):
        raise UnsupportedMediaType(content_type)
    if refused:
        raise body_refusal(refused)


@lru_cache(64)
def is_json(content_type: str) -> bool:
    return media_type_matches(MEDIA_TYPE, content_type)

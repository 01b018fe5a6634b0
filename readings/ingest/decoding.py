"""Decodes posted bodies into readings. Limits apply while decoding, which is most of the cost of a refused body.

May run in a thread of `devices.cpu_pool`, so nothing here uses the request.
"""

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError

from devices.api.json_decoding import (
    DOCUMENT_BYTES_MAX,
    LIGHT_COMMAS_MAX,
    check_body,
    check_syntax,
    decode_document,
    decode_json,
    decoder,
    is_light,
    nested_too_deeply,
)
from devices.cpu_pool import Pauses
from devices.validators import is_device_id
from readings import instruments
from readings.ingest.payloads import BATCH_READINGS_MAX, InvalidReading, parse_reading
from readings.log.entries import NewReading, Refusal

# A body of at most this many bytes and commas is decoded in one call, which takes at most 5 ms.
WHOLE_BYTES_MAX = 512 * 1024
WHOLE_COMMAS_MAX = 20_000

# For a batch that is decoded item by item: an item with more commas is not a reading; 64 KiB of them take 3 ms.
TOO_LARGE = Refusal(
    "",
    "reading_too_large",
    f"In a large batch a reading may have at most {DOCUMENT_BYTES_MAX} bytes of JSON and {LIGHT_COMMAS_MAX} commas.",
)


class Posted(msgspec.Struct):
    """A decoded body: each reading, or why it is refused.

    `problem` is an error of the whole body; then there are no outcomes. `named` maps the index of a refused reading to
    the device id in it.
    """

    outcomes: list[NewReading | Refusal] = []
    named: dict[int, str] = {}
    problem: APIException | None = None

    def device_of(self, index: int) -> str:
        """The device id in the reading; empty if it has none, or an invalid one."""
        outcome = self.outcomes[index] if index < len(self.outcomes) else None
        return outcome.device_id if isinstance(outcome, NewReading) else self.named.get(index, "")


def decode_reading(
    body: bytes, refused: str, *, content_type: str, device_id: str | None, received_at: datetime
) -> Posted:
    """Decodes one reading. `refused`: the code of `telemetry.gateway.bodies.BodyRefused`, or "" for a complete body.

    `device_id` and `received_at` as in `parse_reading`. Raises ParseError, ValidationError, UnsupportedMediaType and
    BodyTooLarge.
    """
    check_body(body, content_type=content_type, refused=refused)
    document = decode_document(body) if body else {}
    return parse_items([document], device_id, received_at)


def decode_batch(
    body: bytes, refused: str, *, content_type: str, device_id: str | None, received_at: datetime
) -> Posted:
    """Decodes the readings of a batch; parameters and errors as in `decode_reading`."""
    check_body(body, content_type=content_type, refused=refused)
    body = body.removeprefix(BOM_UTF8)
    document: Any = {}
    if body and is_light(body):
        document = decode_json(body)
    elif body and (document := decoded_whole(body)) is None:
        return parse_items(decoded_items(body), device_id, received_at)
    try:
        items = batch_items(document)
    except ValidationError as error:
        return Posted(problem=error, named={0: named_device_id(document)})
    return parse_items(items, device_id, received_at)


def decoded_whole(body: bytes) -> Any:
    """The document; None if it must be decoded item by item, because it is large or has an error."""
    if len(body) > WHOLE_BYTES_MAX or body.count(b",") > WHOLE_COMMAS_MAX:
        return None
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):
        return None


def batch_items(document: Any) -> list[Any]:
    """The items of a batch, not validated. Raises ValidationError if it is not a batch, or has too many or no items."""
    if isinstance(document, dict) and set(document) == {"readings"}:
        document = document["readings"]
    if not isinstance(document, list):
        raise not_a_batch()
    if not 0 < len(document) <= BATCH_READINGS_MAX:
        raise batch_size(f"this one has {len(document)}")
    return document


def not_a_batch() -> ValidationError:
    expected = 'A batch is an array of readings, or {"readings": […]}. A single reading goes to /api/v1/ingest.'
    return ValidationError({"": ErrorDetail(expected, code="not_a_batch")})


def batch_size(what: str) -> ValidationError:
    count = f"A batch has 1 to {BATCH_READINGS_MAX} readings; {what}."
    return ValidationError({"": ErrorDetail(count, code="batch_size")})


def parse_items(items: Iterable[Any], device_id: str | None, received_at: datetime) -> Posted:
    posted = Posted([], {})
    codes: Counter[str] = Counter()
    pauses = Pauses()
    for index, item in enumerate(items):
        try:
            if item is TOO_LARGE:
                raise InvalidReading(TOO_LARGE.field, TOO_LARGE.code, TOO_LARGE.detail)
            posted.outcomes.append(parse_reading(item, device_id=device_id, received_at=received_at))
        except InvalidReading as error:
            posted.outcomes.append(error.refusal)
            codes[error.refusal.code] += 1
            if named := named_device_id(item):
                posted.named[index] = named
        pauses.pause()
    for code, count in codes.items():
        instruments.REJECTED.labels(code).inc(count)
    return posted


def named_device_id(document: Any) -> str:
    named = document.get("device_id") if isinstance(document, dict) else None
    return named if isinstance(named, str) and is_device_id(named) else ""


@cache
def item_decoders() -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
    """Decoders for `[…]` and `{"readings": […]}` that leave the items encoded and accept at most BATCH_READINGS_MAX.

    `max_length` of a list would be checked only after decoding the whole list. A struct with that many fields, encoded
    as an array, stops at the first extra item. Created on first use, which takes 25 ms.
    """
    fields = [(f"item{place}", msgspec.Raw, None) for place in range(BATCH_READINGS_MAX)]
    items = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True, gc=False)
    wrapped = msgspec.defstruct("Wrapped", [("readings", items)], forbid_unknown_fields=True)
    return msgspec.json.Decoder(items), msgspec.json.Decoder(wrapped)


def raw_items(body: bytes) -> list[msgspec.Raw]:
    """The items of a large batch, still encoded. Raises ParseError and ValidationError."""
    array, wrapped = item_decoders()
    start = body.lstrip()[:1]
    try:
        if start == b"[":
            items = array.decode(body)
        elif start == b"{":
            items = wrapped.decode(body).readings
        else:
            check_syntax(body)
            raise not_a_batch()
    except RecursionError as error:
        raise nested_too_deeply() from error
    except msgspec.ValidationError as error:
        if str(error).startswith("Expected `array` of at most length"):
            raise batch_size("this one has more") from error
        check_syntax(body)  # raises the better error if the body is not JSON
        raise not_a_batch() from error
    except msgspec.DecodeError as error:
        raise ParseError(f"The body is not JSON: {error}", code="malformed") from error
    return [item for item in msgspec.structs.astuple(items) if item is not None]


def decoded_items(body: bytes) -> Iterator[Any]:
    """Decodes the items of a large batch one at a time; yields TOO_LARGE in place of an item that is too large.

    Raises ParseError and ValidationError.
    """
    items = raw_items(body)
    if not items:
        raise batch_size("this one has none")
    for index, item in enumerate(items):
        encoded = bytes(item)
        if len(encoded) > DOCUMENT_BYTES_MAX or encoded.count(b",") > LIGHT_COMMAS_MAX:
            yield TOO_LARGE
            continue
        try:
            yield decode_json(encoded)
        except ParseError as error:
            raise ParseError(f"Reading {index}: {error.detail}", code="malformed") from error

"""Posted bodies decoded into readings: bounded while they are decoded, since that is most of the work of a refused one.

May run in a thread of `devices.cpu_pool`: there is nothing of the request in here.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from typing import Any

import msgspec
from rest_framework.exceptions import APIException, ErrorDetail, ParseError, ValidationError

from devices.api.json import (
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

# A body of at most so many bytes and commas is decoded at once, which takes 5 ms at most.
WHOLE_BYTES_MAX = 512 * 1024
WHOLE_COMMAS_MAX = 20_000

# Of a batch that is decoded item by item: an item of more commas is no reading, and 64 KiB of them take 3 ms to decode.
TOO_LARGE = Refusal(
    "",
    "reading_too_large",
    f"In a large batch a reading is at most {DOCUMENT_BYTES_MAX} bytes of JSON with {LIGHT_COMMAS_MAX} commas.",
)


class Posted(msgspec.Struct):
    """A decoded body: of each reading what it is, or why it is refused.

    `problem` is what is wrong with the body as a whole; then there are no outcomes. `named`: the device that a refused
    reading names, by its place.
    """

    outcomes: list[NewReading | Refusal] = []
    named: dict[int, str] = {}
    problem: APIException | None = None

    def device_of(self, index: int) -> str:
        """The device that the reading names; empty where it names none, or none that can exist."""
        outcome = self.outcomes[index] if index < len(self.outcomes) else None
        return outcome.device_id if isinstance(outcome, NewReading) else self.named.get(index, "")


def decode_reading(
    body: bytes, refused: str, *, content_type: str, device_id: str | None, received_at: datetime
) -> Posted:
    """One reading. `refused`: why the body was not taken (`telemetry.gateway.bodies.BodyRefused`), if it was not.

    `device_id` and `received_at` are those of `parse_reading`. Raises ParseError, ValidationError,
    UnsupportedMediaType, BodyTooLarge.
    """
    check_body(body, content_type=content_type, refused=refused)
    document = decode_document(body) if body else {}
    return parse_items([document], device_id, received_at)


def decode_batch(
    body: bytes, refused: str, *, content_type: str, device_id: str | None, received_at: datetime
) -> Posted:
    """The readings of a batch; as `decode_reading`."""
    check_body(body, content_type=content_type, refused=refused)
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
    """The document; None where it is better decoded item by item: it is large, or there is something wrong with it."""
    if len(body) > WHOLE_BYTES_MAX or body.count(b",") > WHOLE_COMMAS_MAX:
        return None
    try:
        return decoder.decode(body)
    except (ValueError, RecursionError):
        return None


def batch_items(document: Any) -> list[Any]:
    """The readings of a batch, unchecked. Raises ValidationError."""
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
    """For `[…]` and for `{"readings": […]}`: each item undecoded, and no more than BATCH_READINGS_MAX of them.

    A list's `max_length` is checked after the whole list is decoded. A structure of that many fields, written as an
    array, ends at the first item too many. Made at the first use, which takes 25 ms.
    """
    fields = [(f"item{place}", msgspec.Raw, None) for place in range(BATCH_READINGS_MAX)]
    items = msgspec.defstruct("Items", fields, array_like=True, forbid_unknown_fields=True, gc=False)
    wrapped = msgspec.defstruct("Wrapped", [("readings", items)], forbid_unknown_fields=True)
    return msgspec.json.Decoder(items), msgspec.json.Decoder(wrapped)


def raw_items(body: bytes) -> list[msgspec.Raw]:
    """The items of a large batch, undecoded. Raises ParseError, ValidationError."""
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
        check_syntax(body)  # what is no JSON at all is told so
        raise not_a_batch() from error
    except msgspec.DecodeError as error:
        raise ParseError(f"The body is not JSON: {error}", code="malformed") from error
    return [item for item in msgspec.structs.astuple(items) if item is not None]


def decoded_items(body: bytes) -> Iterator[Any]:
    """The items of a large batch, decoded one at a time; TOO_LARGE in place of one that is.

    Raises ParseError, ValidationError.
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

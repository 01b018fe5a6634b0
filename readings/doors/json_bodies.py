"""Decodes the JSON bodies of doors. May run in a thread of `devices.cpu_pool`, so nothing here uses the request."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from devices.api.json_decoding import BodyTooLarge, body_refusal, decode_json
from devices.cpu_pool import Pauses
from readings import instruments
from readings.doors.translation import Skipped, Translation
from readings.ingest.decoding import WHOLE_BYTES_MAX, WHOLE_COMMAS_MAX, Posted
from readings.log.entries import NewReading, Refusal


class Documents(Posted):
    """The readings in a body, and the values that are skipped: device id and value. `events`: how many it had."""

    skipped: list[tuple[str, Skipped]] = []
    events: int = 0


def decode_body(body: bytes, refused: str) -> Any:
    """The decoded JSON document, whatever its media type. `refused` as in `readings.ingest.decoding.decode_reading`.

    Raises ParseError, and BodyTooLarge beyond 512 KiB or 20,000 commas.
    """
    if refused:
        raise body_refusal(refused)
    if len(body) > WHOLE_BYTES_MAX or body.count(b",") > WHOLE_COMMAS_MAX:
        raise BodyTooLarge
    return decode_json(body)


def gathered(device_id: str, translations: Iterable[Translation | Refusal]) -> Documents:
    """The outcomes of a body's entries, all of this device."""
    documents = Documents([], {}, None, [], 0)
    pauses = Pauses()
    for found in translations:
        documents.events += 1
        outcome: NewReading | Refusal | None = found if isinstance(found, Refusal) else found.reading
        if isinstance(found, Translation):
            documents.skipped += [(device_id, value) for value in found.skipped]
        if outcome is not None:
            if isinstance(outcome, Refusal):
                documents.named[len(documents.outcomes)] = device_id
            documents.outcomes.append(outcome)
        pauses.pause()
    codes = Counter(outcome.code for outcome in documents.outcomes if isinstance(outcome, Refusal))
    for code, count in codes.items():
        instruments.REJECTED.labels(code).inc(count)
    return documents

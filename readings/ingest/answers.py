"""The documents with which the ingest endpoints answer."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from devices.metrics import TIME_NAMES
from devices.times import encodable
from readings.ingest.payloads import AGE_HINT
from readings.log.entries import NewReading, Refusal, StoredReading
from readings.log.recording import Recorded

REJECTIONS_LISTED = 100
# Names of rounded metrics in one answer.
ROUNDED_LISTED = 100


def reading_result(stored: StoredReading, posted: NewReading) -> dict[str, Any]:
    """The answer to one reading that is stored."""
    answer = {
        "id": stored.id,
        "device_id": stored.device_id,
        "seq": stored.seq,
        "timestamp": encodable(stored.timestamp),
    }
    return answer | notices(posted.ignored, posted.rounded)


def batch_result(
    outcomes: Sequence[NewReading | Refusal], recorded: Iterable[Recorded], received_at: datetime
) -> dict[str, Any]:
    """The answer to a batch: counts, the first REJECTIONS_LISTED rejections, and each device's new range of `seq`.

    `recorded`: the outcomes of the valid readings, in order.
    """
    stored = iter(recorded)
    results = [Recorded(refusal=o) if isinstance(o, Refusal) else next(stored) for o in outcomes]
    rejected = [(index, result.refusal) for index, result in enumerate(results) if result.refusal]
    seq_ranges: dict[str, list[int]] = {}
    ignored: set[str] = set()
    rounded: set[str] = set()
    for outcome, result in zip(outcomes, results, strict=True):
        if isinstance(outcome, Refusal) or result.reading is None:
            continue
        if outcome.ignored or outcome.rounded:
            ignored.update(outcome.ignored)
            rounded.update(outcome.rounded)
        if not result.duplicate:
            seq_ranges.setdefault(result.reading.device_id, []).append(result.reading.seq)
    return {
        "accepted": sum(map(len, seq_ranges.values())),
        "duplicates": sum(result.duplicate for result in results),
        "rejected": [
            {"index": index, "field": refusal.field, "code": refusal.code, "detail": refusal.detail}
            for index, refusal in rejected[:REJECTIONS_LISTED]
        ],
        "rejected_count": len(rejected),
        "devices": [
            {"device_id": device_id, "first_seq": seqs[0], "last_seq": seqs[-1]}
            for device_id, seqs in seq_ranges.items()
        ],
        "server_time": encodable(received_at),
    } | notices(sorted(ignored), sorted(rounded)[:ROUNDED_LISTED])


def notices(ignored: Collection[str], rounded: Collection[str]) -> dict[str, Any]:
    """What was stored otherwise than sent: ignored fields, with a hint if one is a time, and rounded metrics."""
    found: dict[str, Any] = {}
    if ignored:
        found["ignored"] = ignored
        if not set(TIME_NAMES).isdisjoint(ignored):
            found["hint"] = AGE_HINT
    if rounded:
        found["rounded"] = rounded
    return found

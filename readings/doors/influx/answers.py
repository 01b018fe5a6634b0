"""InfluxDB's answers: statuses and words that its clients understand.

Telegraf drops a batch after 400, keeps it after 401 and 403, splits it after 413, and sends it again later after 429
and 503. Its output for InfluxDB 1 drops it only if the text has "partial write" or "unable to parse".
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from django.http import HttpResponse
from rest_framework.exceptions import APIException

from readings.doors.influx.joining import INVALID_LINE, JoinedLines
from readings.log.entries import Refusal
from readings.log.recording import Recorded

# The version that clients are told: that of the last InfluxDB with both ways to write.
VERSION = "1.8.10"
# By status, the codes of InfluxDB 2.
CODES = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    405: "method not allowed",
    413: "request too large",
    415: "invalid",
    422: "unprocessable entity",
    429: "too many requests",
    503: "unavailable",
}
REASONS_LISTED = 5
LINES_LISTED = 10
HEADER_CHARACTERS = 200
# Headers of a refusal that its translation keeps.
KEPT = ("WWW-Authenticate", "Retry-After", "Allow")


class Rejected(msgspec.Struct, frozen=True):
    """A reading or a line that was not stored. `index` as in `JoinedLines.outcomes`."""

    index: int
    lines: Sequence[int]
    refusal: Refusal


class PartialWrite(APIException):
    """Some lines are not stored; the others are. `problem_members` has the first of each reason, to be noted."""

    status_code = 400
    default_code = "partial_write"

    def __init__(self, rejected: Sequence[Rejected], quoted: dict[int, str]) -> None:
        reasons: dict[tuple[str, str], list[Rejected]] = {}
        for item in rejected:
            reasons.setdefault((item.refusal.code, item.refusal.detail), []).append(item)
        super().__init__(partial_write(list(reasons.values()), quoted))
        noted = [(items[0].index, items[0].refusal) for items in reasons.values()]
        self.problem_members = {
            "rejected": [
                {"index": index} | msgspec.structs.asdict(refusal) for index, refusal in noted[:REASONS_LISTED]
            ],
            "line": min(line for item in rejected for line in item.lines),
        }


def empty(status: int = 204) -> HttpResponse:
    response = HttpResponse(status=status)
    del response["Content-Type"]
    return identified(response)


def document(content: Any, *, status: int) -> HttpResponse:
    return identified(HttpResponse(msgspec.json.encode(content), content_type="application/json", status=status))


def identified(response: HttpResponse) -> HttpResponse:
    response["X-Influxdb-Version"] = VERSION
    response["X-Influxdb-Build"] = "OSS"
    return response


def refusal(message: str, *, status: int, version: int, line: int | None = None) -> HttpResponse:
    """An error in the words of InfluxDB 1 or 2 (`version`)."""
    if version == 1:
        response = document({"error": message}, status=status)
        response["X-Influxdb-Error"] = plain(message)[:HEADER_CHARACTERS]
        return response
    content: dict[str, Any] = {"code": CODES.get(status, "internal error"), "message": message}
    return document(content | ({"line": line} if line else {}), status=status)


def plain(text: str) -> str:
    """The text with only characters that a header may have."""
    return "".join(character if " " <= character <= "~" else "?" for character in text)


def rejected_of(joined: JoinedLines, recorded: Sequence[Recorded]) -> list[Rejected]:
    """What was not stored, in the order of the outcomes. `recorded`: the outcomes of the valid readings, in order."""
    if len(recorded) == len(joined.outcomes) and all(outcome.refusal is None for outcome in recorded):
        return []
    stored = iter(recorded)
    rejected = []
    for index, outcome in enumerate(joined.outcomes):
        reason = outcome if isinstance(outcome, Refusal) else next(stored).refusal
        if reason is not None:
            rejected.append(Rejected(index, joined.lines[index], reason))
    return rejected


def partial_write(reasons: Sequence[Sequence[Rejected]], quoted: dict[int, str]) -> str:
    """`partial write: unable to parse 'cpu': missing fields (line 3); … dropped=2`, with the lines of each reason.

    `reasons`: what was rejected for the same reason, for each reason.
    """
    parts = []
    dropped = 0
    for place, items in enumerate(reasons):
        numbers = sorted(line for item in items for line in item.lines)
        dropped += len(numbers)
        if place < REASONS_LISTED:
            detail = items[0].refusal.detail.rstrip(".")
            if items[0].refusal.code == INVALID_LINE:
                detail = f"unable to parse '{quoted[numbers[0]]}': {detail}"
            parts.append(f"{detail} ({listed(numbers)})")
    if len(reasons) > REASONS_LISTED:
        parts.append(f"{len(reasons) - REASONS_LISTED} other reasons")
    return f"partial write: {'; '.join(parts)} dropped={dropped}"


def listed(numbers: Sequence[int]) -> str:
    if len(numbers) == 1:
        return f"line {numbers[0]}"
    more = f" and {len(numbers) - LINES_LISTED} more" if len(numbers) > LINES_LISTED else ""
    return f"lines {', '.join(map(str, numbers[:LINES_LISTED]))}{more}"

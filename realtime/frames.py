"""What the socket says: one function a frame, each giving the JSON text."""

from collections.abc import Iterable
from typing import Any

import msgspec

from readings.stored import ReadingLike, reading_document

# A frame carries at most so many readings; with every metric a reading may have, about 1 MiB.
READINGS_PER_FRAME = 500


def _text(**frame: Any) -> str:
    return msgspec.json.encode(frame).decode()


def subscribed(device_id: str, last_seq: int) -> str:
    return _text(type="subscribed", device_id=device_id, last_seq=last_seq)


def readings(device_id: str, entries: Iterable[ReadingLike]) -> str:
    """Consecutive readings of one device, at most READINGS_PER_FRAME, `seq` rising by one."""
    return _text(type="readings", device_id=device_id, readings=[reading_document(entry) for entry in entries])


def pong() -> str:
    return _text(type="pong")


def error(code: str, detail: str) -> str:
    return _text(type="error", code=code, detail=detail)

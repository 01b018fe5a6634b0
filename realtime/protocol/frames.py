"""What the socket says: one function a frame, each giving the JSON text."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from readings.log.entries import ReadingLike, reading_document

# A frame carries at most so many readings, and characters of them: many clients take no frame beyond 1 MiB.
READINGS_PER_FRAME = 500
DOCUMENTS_PER_FRAME = 512 * 1024
# As many of the fleet's logs stand in one frame, and in one message of a client that resumes.
POSITIONS_PER_FRAME = 500


def _text(**frame: Any) -> str:
    return msgspec.json.encode(frame).decode()


def documents(entries: Iterable[ReadingLike]) -> str:
    """Readings as they stand in a frame: JSON objects with commas between, so that two such texts can be joined."""
    return msgspec.json.encode([reading_document(entry) for entry in entries])[1:-1].decode()


def subscribed(device_id: str, last_seq: int, status: str | None, log_id: str) -> str:
    """How long the device's log is, what its status, and which log it is: a new one where it was registered again."""
    return _text(type="subscribed", device_id=device_id, last_seq=last_seq, status=status, log=log_id)


def subscribed_to_fleet() -> str:
    """`positions` follow with the rest."""
    return _text(type="subscribed", device_id=None, last_seq=None, status=None)


def readings(device_id: str, documents: str) -> str:
    """Consecutive readings of one device, as `documents` gives them; `seq` rises by one."""
    # A device's id has no character that JSON would escape (devices.validators).
    return f'{{"type":"readings","device_id":"{device_id}","readings":[{documents}]}}'


def deleted(device_id: str, first_seq: int, last_seq: int) -> str:
    """Of this range of the log nothing is kept any more; what follows goes on behind it."""
    return _text(type="deleted", device_id=device_id, first_seq=first_seq, last_seq=last_seq)


def status(device_id: str, status: str) -> str:
    return _text(type="status", device_id=device_id, status=status)


def positions(logs: Sequence[tuple[str, int, str | None, str]], *, more: bool) -> str:
    """Where logs of the fleet end: (device_id, last_seq, status, log_id), at most POSITIONS_PER_FRAME of them."""
    devices = [
        {"device_id": device_id, "last_seq": last_seq, "status": status, "log": log_id}
        for device_id, last_seq, status, log_id in logs
    ]
    return _text(type="positions", devices=devices, more=more)


def pong() -> str:
    return _text(type="pong")


def error(code: str, detail: str) -> str:
    return _text(type="error", code=code, detail=detail)

"""The frames that the server sends: one function for each type, each returns the JSON text."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from readings.log.entries import ReadingLike, reading_document

# Limits of one `readings` frame, in readings and in characters: many clients refuse messages over 1 MiB.
READINGS_PER_FRAME = 500
DOCUMENTS_PER_FRAME = 512 * 1024
# Logs in one `positions` frame, and in one `resume` message of a client.
POSITIONS_PER_FRAME = 500


def _text(**frame: Any) -> str:
    return msgspec.json.encode(frame).decode()


def documents(entries: Iterable[ReadingLike]) -> str:
    """Readings encoded as JSON objects with commas between them, without brackets, so that two texts can be joined."""
    return msgspec.json.encode([reading_document(entry) for entry in entries])[1:-1].decode()


def subscribed(device_id: str, last_seq: int, status: str | None, log_id: str) -> str:
    """The first frame for a device: length of its log, its status, and the log's id, which changes if it is erased and
    registered again.
    """
    return _text(type="subscribed", device_id=device_id, last_seq=last_seq, status=status, log=log_id)


def subscribed_to_fleet() -> str:
    """The first frame for the fleet; `positions` frames with length, status and id of each log follow."""
    return _text(type="subscribed", device_id=None, last_seq=None, status=None)


def readings(device_id: str, documents: str) -> str:
    """Consecutive readings of one device, with `seq` rising by one; `documents` comes from the function `documents`."""
    # A device id has no character that JSON would have to escape (devices.validators).
    return f'{{"type":"readings","device_id":"{device_id}","readings":[{documents}]}}'


def deleted(device_id: str, first_seq: int, last_seq: int) -> str:
    """The readings from `first_seq` to `last_seq` are no longer stored; the log goes on after `last_seq`."""
    return _text(type="deleted", device_id=device_id, first_seq=first_seq, last_seq=last_seq)


def status(device_id: str, status: str) -> str:
    return _text(type="status", device_id=device_id, status=status)


def positions(logs: Sequence[tuple[str, int, str | None, str]], *, more: bool) -> str:
    """The ends of logs: (device_id, last_seq, status, log_id), at most POSITIONS_PER_FRAME. `more`: others follow."""
    devices = [
        {"device_id": device_id, "last_seq": last_seq, "status": status, "log": log_id}
        for device_id, last_seq, status, log_id in logs
    ]
    return _text(type="positions", devices=devices, more=more)


def pong() -> str:
    return _text(type="pong")


def error(code: str, detail: str) -> str:
    return _text(type="error", code=code, detail=detail)

"""The frames that the server sends: one function for each type, each returns the JSON text."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from devices.times import rfc3339
from readings.log.entries import ReadingLike, reading_document

# Limits of one `readings` frame, in readings and in characters: many clients refuse messages over 1 MiB.
READINGS_PER_FRAME = 500
DOCUMENTS_PER_FRAME = 512 * 1024
# The newest open alarms in an `alarms` frame. With the longest texts it has 900,000 characters.
ALARMS_PER_FRAME = 100
# Logs in one `positions` frame, and in one `resume` message of a client.
POSITIONS_PER_FRAME = 500


class End(msgspec.Struct, frozen=True, gc=False):
    """The end of a log in a `positions` frame. `last_seen_at` as `moment` returns it; None: never."""

    device_id: str
    last_seq: int
    status: str | None
    last_seen_at: str | None
    log: str


def moment(at: datetime | None) -> str | None:
    """A time as text, as in the frames."""
    return None if at is None else rfc3339(at)


def _text(**frame: Any) -> str:
    return msgspec.json.encode(frame).decode()


def documents(entries: Iterable[ReadingLike]) -> str:
    """Readings encoded as JSON objects with commas between them, without brackets, so that two texts can be joined."""
    return msgspec.json.encode([reading_document(entry) for entry in entries])[1:-1].decode()


def subscribed(end: End) -> str:
    """The first frame for a device: length of its log, its status, when it was last heard from, and the log's id, which
    changes if it is erased and registered again.
    """
    return _text(type="subscribed", **msgspec.structs.asdict(end))


def shared(expires_at: datetime) -> str:
    """The first and only frame of the socket of a link to a view."""
    return _text(type="shared", expires_at=moment(expires_at))


def subscribed_to_fleet() -> str:
    """The first frame for the fleet; `positions` frames with length, status and id of each log follow."""
    return _text(type="subscribed", device_id=None, last_seq=None, status=None)


def readings(device_id: str, documents: str, last_seen_at: str | None = None) -> str:
    """Consecutive readings of one device, with `seq` rising by one; `documents` comes from the function `documents`.

    `last_seen_at` is given if the device itself has just sent them; not in a replay, and not after an import.
    """
    # A device id has no character that JSON would have to escape (devices.validators).
    seen = f'"last_seen_at":"{last_seen_at}",' if last_seen_at else ""
    return f'{{"type":"readings","device_id":"{device_id}",{seen}"readings":[{documents}]}}'


def deleted(device_id: str, first_seq: int, last_seq: int) -> str:
    """The readings from `first_seq` to `last_seq` are no longer stored; the log goes on after `last_seq`."""
    return _text(type="deleted", device_id=device_id, first_seq=first_seq, last_seq=last_seq)


def status(device_id: str, status: str | None, last_seen_at: str | None) -> str:
    return _text(type="status", device_id=device_id, status=status, last_seen_at=last_seen_at)


def positions(ends: Sequence[End], *, more: bool) -> str:
    """The ends of logs, at most POSITIONS_PER_FRAME. `more`: others follow."""
    return _text(type="positions", devices=ends, more=more)


def document(alarm: Mapping[str, Any]) -> str:
    """An alarm, as the API returns it, encoded."""
    return msgspec.json.encode(alarm).decode()


def alarms(documents: Iterable[str], *, open_count: int) -> str:
    """All open alarms of what the socket watches: how many there are, and the newest, at most ALARMS_PER_FRAME."""
    return f'{{"type":"alarms","open":{open_count},"alarms":[{",".join(documents)}]}}'


def alarm(event: str, document: str, *, open_count: int) -> str:
    """An alarm was opened, resolved or acknowledged (`event`). `open_count`: how many are open after that."""
    return f'{{"type":"alarm","event":"{event}","open":{open_count},"alarm":{document}}}'


def pong() -> str:
    return _text(type="pong")


def error(code: str, detail: str) -> str:
    return _text(type="error", code=code, detail=detail)

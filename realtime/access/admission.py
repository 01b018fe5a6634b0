"""Who may watch what: the handshake of a socket, judged before it is told anything."""

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs

from devices.access.authentication import INVALID_KEY, key_in
from devices.access.callers import Caller, Role, caller_for_key
from devices.keys import hash_key
from devices.models import AccessVersion, Device
from realtime.access.credentials import WATCH_PERMISSION, Credential, revoked, users_of_sessions
from realtime.models import Ticket
from realtime.protocol.endings import Ending

# Close codes of our own; the last three digits are HTTP's.
BAD_REQUEST, NOT_AUTHENTICATED, NOT_ALLOWED, NOT_FOUND = 4400, 4401, 4403, 4404


LOG_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class Refused(Exception):
    """The socket gets an error frame and closes, as `ending` says.

    Raised anew each time: an exception that is a constant keeps the frames of every raise, with the keys in them.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.detail)
        self.ending = ending


UNKNOWN_DEVICE = Ending(NOT_FOUND, "unknown_device", "There is no such device that the caller may see.")
NOT_THE_FLEET = Ending(NOT_ALLOWED, "permission_denied", "This key, account or ticket may not watch the whole fleet.")
MAY_NOT_WATCH = Ending(NOT_ALLOWED, "permission_denied", "This key or account may not watch devices.")
INVALID_TICKET = Ending(NOT_AUTHENTICATED, "invalid_ticket", "Invalid ticket: it is unknown, used or expired.")
UNKNOWN_KEY = Ending(NOT_AUTHENTICATED, "invalid_key", INVALID_KEY)
NO_CREDENTIALS = Ending(NOT_AUTHENTICATED, "not_authenticated", "Bring a key, a ticket or a signed-in session.")
INVALID_AFTER = Ending(BAD_REQUEST, "invalid_after", "after is the seq of the last reading seen: 0, 1, 2, …")
INVALID_LOG = Ending(BAD_REQUEST, "invalid_log", "log is the UUID that `subscribed` named.")
INVALID_RESUME = Ending(BAD_REQUEST, "invalid_resume", "resume is true or false.")


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """What a client brings: headers, the ticket of its query string, the key of its session.

    `session_key` is to be None where the session does not count, as without an Origin of ours.
    """

    api_key: str | None
    authorization: str | None
    ticket: str | None
    session_key: str | None


@dataclass(frozen=True)
class Admission:
    """The device to watch, with its state, or None for the fleet; and on whose account.

    The account counted at `version` (of `AccessVersion`).
    """

    device: Device | None
    credential: Credential
    version: int


def admit(handshake: Handshake, device_id: str | None, *, now: datetime) -> Admission:
    """Lets a socket in to a device, or (None) to the whole fleet. Raises Refused."""
    version = AccessVersion.objects.current()  # before anything is looked at
    device = None
    if device_id is not None:
        device = Device.objects.select_related("state").filter(device_id=device_id).first()
    key = key_in(api_key=handshake.api_key, authorization=handshake.authorization)
    if key is None and handshake.ticket is not None:
        ticket = Ticket.objects.redeem(handshake.ticket, now=now)
        if ticket is None or revoked([ticket.credential], now=now):
            raise Refused(INVALID_TICKET)
        if device_id is None and ticket.device is not None:
            raise Refused(NOT_THE_FLEET)
        if device_id is not None and (device is None or ticket.device not in (None, device)):
            raise Refused(UNKNOWN_DEVICE)
        return Admission(device, ticket.credential, version)
    if key is not None:
        caller = caller_for_key(key, now=now)
        credential = Credential(key_hash=hash_key(key) if caller and caller.role is Role.DEVICE else None)
        if caller is None:
            raise Refused(UNKNOWN_KEY)
    else:
        caller = session_caller(handshake.session_key, now=now)
        credential = Credential(session_key=handshake.session_key)
        if caller is None:
            raise Refused(NO_CREDENTIALS)
    check_may_watch(caller, device, fleet=device_id is None)
    if device_id is not None and device is None:
        raise Refused(UNKNOWN_DEVICE)
    return Admission(device, credential, version)


def session_caller(session_key: str | None, *, now: datetime) -> Caller | None:
    users = users_of_sessions([session_key], now=now) if session_key else {}
    return Caller(role=Role.ADMIN, user=users[session_key]) if session_key in users else None


def check_may_watch(caller: Caller, device: Device | None, *, fleet: bool) -> None:
    """Raises Refused unless the caller may watch the device, or the fleet."""
    if caller.role is Role.DEVICE:
        if fleet:
            raise Refused(NOT_THE_FLEET)
        if device != caller.device:
            raise Refused(UNKNOWN_DEVICE)
    elif not caller.may(WATCH_PERMISSION):
        raise Refused(MAY_NOT_WATCH)


def parse_after(query_string: bytes) -> int | None:
    """The position `?after=` names; None without one. Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("after", [])
    if not values:
        return None
    if not (values[-1].isascii() and values[-1].isdigit() and len(values[-1]) <= 18):
        raise Refused(INVALID_AFTER)
    return int(values[-1])


def parse_log(query_string: bytes) -> str | None:
    """The log that `?log=` names, of which `after` is a position; None without one. Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("log", [])
    if not values:
        return None
    if not LOG_ID.fullmatch(values[-1]):
        raise Refused(INVALID_LOG)
    return values[-1].lower()


def parse_resume(query_string: bytes) -> bool:
    """Whether a watcher of the fleet is going to say where it was (`?resume=true`). Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("resume", ["false"])
    if values[-1] not in ("true", "false"):
        raise Refused(INVALID_RESUME)
    return values[-1] == "true"

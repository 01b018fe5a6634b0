"""Admission of a socket: checks the handshake before anything is sent to the client."""

import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs

from devices.access.authentication import INVALID_KEY, key_in
from devices.access.callers import Caller, Role, caller_for_key
from devices.keys import hash_key
from devices.models import AccessVersion, Device
from realtime.access.credentials import (
    ALARMS_PERMISSION,
    ALL_RIGHTS,
    WATCH_PERMISSION,
    Credential,
    Rights,
    devices_seen,
    rights_of,
    users_of_sessions,
)
from realtime.models import Ticket
from realtime.protocol.endings import Ending

# Close codes of this API: 4000 plus the HTTP status that means the same.
BAD_REQUEST, NOT_AUTHENTICATED, NOT_ALLOWED, NOT_FOUND = 4400, 4401, 4403, 4404


LOG_ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


class Refused(Exception):
    """The socket is refused: it gets an error frame and is closed, both given by `ending`.

    Create a new instance for each raise: an exception kept as a constant keeps the stack frames of every raise, and
    with them the API keys in their variables.
    """

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.detail)
        self.ending = ending


UNKNOWN_DEVICE = Ending(NOT_FOUND, "unknown_device", "No such device, or the caller may not see it.")
NOT_THE_FLEET = Ending(NOT_ALLOWED, "permission_denied", "This key, account or ticket may not watch the whole fleet.")
MAY_NOT_WATCH = Ending(NOT_ALLOWED, "permission_denied", "This key or account may not watch devices.")
MAY_NOT_SEE_ALARMS = Ending(NOT_ALLOWED, "permission_denied", "This key, account or ticket may not see all alarms.")
INVALID_TICKET = Ending(NOT_AUTHENTICATED, "invalid_ticket", "Invalid ticket: it is unknown, used or expired.")
UNKNOWN_KEY = Ending(NOT_AUTHENTICATED, "invalid_key", INVALID_KEY)
NO_CREDENTIALS = Ending(NOT_AUTHENTICATED, "not_authenticated", "Send an API key, a ticket or a session cookie.")
INVALID_AFTER = Ending(BAD_REQUEST, "invalid_after", "after must be the seq of the last reading received: 0, 1, 2, …")
INVALID_LOG = Ending(BAD_REQUEST, "invalid_log", "log must be the UUID from the `subscribed` frame.")
INVALID_ONLY = Ending(BAD_REQUEST, "invalid_only", "only must be alarms.")
INVALID_RESUME = Ending(BAD_REQUEST, "invalid_resume", "resume must be true or false.")


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """The credentials in a handshake: two headers, the ticket of the query string, and the session key of the cookie.

    `session_key` must be None unless the handshake has an Origin that is allowed to use the session.
    """

    api_key: str | None
    authorization: str | None
    ticket: str | None
    session_key: str | None


@dataclass(frozen=True)
class Admission:
    """What an admitted socket watches, and by which credential.

    `device` has its state loaded; None means the whole fleet. `credential` was valid at `version` (of `AccessVersion`).
    `sees_alarms`: it may also watch the alarms of the device, or of the whole fleet. `scope`: the ids of the devices
    that it may see; None: every device.
    """

    device: Device | None
    credential: Credential
    version: int
    sees_alarms: bool
    scope: frozenset[str] | None = None


def admit(handshake: Handshake, device_id: str | None, *, only_alarms: bool = False, now: datetime) -> Admission:
    """Checks that the handshake may watch a device, or the whole fleet if `device_id` is None.

    With `only_alarms` it must be allowed to see alarms, and need not be allowed to watch readings. Uses up the ticket,
    if there is one. Raises Refused.
    """
    version = AccessVersion.objects.current()  # read first, so that a change during the checks below is noticed later
    device = None
    if device_id is not None:
        device = Device.objects.select_related("state").filter(device_id=device_id).first()
    key = key_in(api_key=handshake.api_key, authorization=handshake.authorization)
    if key is None and handshake.ticket is not None:
        ticket = Ticket.objects.redeem(handshake.ticket, now=now)
        rights = rights_of([ticket.credential], now=now)[ticket.credential] if ticket else None
        if ticket is None or rights is None or not rights.readings:
            raise Refused(INVALID_TICKET)
        if device_id is None and ticket.device is not None:
            raise Refused(NOT_THE_FLEET)
        if device_id is not None and (device is None or ticket.device not in (None, device)):
            raise Refused(UNKNOWN_DEVICE)
        check_within(rights, device)
        check_only(rights, only_alarms=only_alarms)
        return Admission(device, ticket.credential, version, rights.alarms, rights.devices)
    if key is not None:
        caller = caller_for_key(key, now=now)
        if caller is None:
            raise Refused(UNKNOWN_KEY)
        credential = credential_of(caller, key)
    else:
        caller = session_caller(handshake.session_key, now=now)
        credential = Credential(session_key=handshake.session_key)
        if caller is None:
            raise Refused(NO_CREDENTIALS)
    rights = rights_of_caller(caller)
    check_may_watch(caller, rights, device, fleet=device_id is None, only_alarms=only_alarms)
    if device_id is not None and device is None:
        raise Refused(UNKNOWN_DEVICE)
    check_within(rights, device)
    return Admission(device, credential, version, rights.alarms, rights.devices)


def credential_of(caller: Caller, key: str) -> Credential:
    """The credential of a socket that was opened with this key."""
    if caller.token is not None:
        return Credential(token_id=caller.token.id)
    return Credential(key_hash=hash_key(key) if caller.role is Role.DEVICE else None)


def check_within(rights: Rights, device: Device | None) -> None:
    """Raises Refused if the device is none of those that the caller may see."""
    if device is not None and rights.devices is not None and device.device_id not in rights.devices:
        raise Refused(UNKNOWN_DEVICE)


def session_caller(session_key: str | None, *, now: datetime) -> Caller | None:
    users = users_of_sessions([session_key], now=now) if session_key else {}
    return Caller(role=Role.ADMIN, user=users[session_key]) if session_key in users else None


def rights_of_caller(caller: Caller) -> Rights:
    if caller.role is Role.DEVICE:
        return ALL_RIGHTS
    devices = None if caller.limit is None else devices_seen([caller.limit])[caller.limit]
    return Rights(caller.may(WATCH_PERMISSION), caller.may(ALARMS_PERMISSION), devices)


def check_only(rights: Rights, *, only_alarms: bool) -> None:
    if only_alarms and not rights.alarms:
        raise Refused(MAY_NOT_SEE_ALARMS)


def check_may_watch(caller: Caller, rights: Rights, device: Device | None, *, fleet: bool, only_alarms: bool) -> None:
    """Raises Refused unless the caller may watch the device (or, with `fleet`, the whole fleet)."""
    if caller.role is Role.DEVICE:
        if fleet:
            raise Refused(NOT_THE_FLEET)
        if device != caller.device:
            raise Refused(UNKNOWN_DEVICE)
    elif only_alarms:
        check_only(rights, only_alarms=True)
    elif not rights.readings:
        raise Refused(MAY_NOT_WATCH)


def parse_after(query_string: bytes) -> int | None:
    """The `seq` in `?after=`, at most 18 digits; None if the parameter is absent. Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("after", [])
    if not values:
        return None
    if not (values[-1].isascii() and values[-1].isdigit() and len(values[-1]) <= 18):
        raise Refused(INVALID_AFTER)
    return int(values[-1])


def parse_log(query_string: bytes) -> str | None:
    """The log UUID in `?log=`, to which `after` refers; None if the parameter is absent. Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("log", [])
    if not values:
        return None
    if not LOG_ID.fullmatch(values[-1]):
        raise Refused(INVALID_LOG)
    return values[-1].lower()


def parse_resume(query_string: bytes) -> bool:
    """Whether the client will send its positions after `subscribed` (`?resume=true`). Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("resume", ["false"])
    if values[-1] not in ("true", "false"):
        raise Refused(INVALID_RESUME)
    return values[-1] == "true"


def parse_only(query_string: bytes) -> bool:
    """Whether the client wants alarms and no readings (`?only=alarms`). Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("only", [])
    if values and values[-1] != "alarms":
        raise Refused(INVALID_ONLY)
    return bool(values)

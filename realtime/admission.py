"""Who may watch what: the handshake of a socket, judged before it is told anything."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qs

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

from devices.authentication import INVALID_KEY, key_in
from devices.callers import Caller, Role, caller_for_key, caller_for_user
from devices.context import calling_device
from devices.models import Device
from realtime.models import Ticket

WATCH_PERMISSION = "readings.view_reading"

# Close codes of our own; the last three digits are HTTP's.
BAD_REQUEST, NOT_AUTHENTICATED, NOT_ALLOWED, NOT_FOUND = 4400, 4401, 4403, 4404


class Refused(Exception):
    """The socket gets an error frame with `code` and `detail`, and closes with `close_code`."""

    def __init__(self, close_code: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.close_code = close_code
        self.code = code
        self.detail = detail


UNKNOWN = Refused(NOT_FOUND, "unknown_device", "There is no such device that the caller may see.")


@dataclass(frozen=True, kw_only=True)
class Handshake:
    """What a client brings: headers, the ticket of its query string, the account of its session.

    `user` is to be None where the session does not count, as without an Origin of ours.
    """

    api_key: str | None
    authorization: str | None
    ticket: str | None
    user: AbstractBaseUser | AnonymousUser | None


def admit(handshake: Handshake, device_id: str, *, now: datetime) -> Device:
    """The device to watch, with its state. Raises Refused."""
    calling_device.set(device_id)
    device = Device.objects.select_related("state").filter(device_id=device_id).first()
    key = key_in(api_key=handshake.api_key, authorization=handshake.authorization)
    if key is None and handshake.ticket is not None:
        ticket = Ticket.objects.redeem(handshake.ticket, now=now)
        if ticket is None or (ticket.device and not ticket.device.is_active):
            raise Refused(NOT_AUTHENTICATED, "invalid_ticket", "Invalid ticket: it is unknown, used or expired.")
        if device is None or ticket.device not in (None, device):
            raise UNKNOWN
        return device
    caller = caller_for_user(handshake.user) if key is None else caller_for_key(key, now=now)
    if caller is None and key is not None:
        raise Refused(NOT_AUTHENTICATED, "invalid_key", INVALID_KEY)
    if caller is None:
        raise Refused(NOT_AUTHENTICATED, "not_authenticated", "Bring a key, a ticket or a signed-in session.")
    check_may_watch(caller, device)
    if device is None:
        raise UNKNOWN
    return device


def check_may_watch(caller: Caller, device: Device | None) -> None:
    """Raises Refused unless the caller may watch the device."""
    if caller.role is Role.DEVICE:
        if device != caller.device:
            raise UNKNOWN
    elif not caller.may(WATCH_PERMISSION):
        raise Refused(NOT_ALLOWED, "permission_denied", "This key or account may not watch devices.")


def parse_after(query_string: bytes) -> int | None:
    """The position `?after=` names; None without one. Raises Refused."""
    values = parse_qs(query_string.decode("ascii", "replace"), keep_blank_values=True).get("after", [])
    if not values:
        return None
    if not (values[-1].isascii() and values[-1].isdigit() and len(values[-1]) <= 18):
        raise Refused(BAD_REQUEST, "invalid_after", "after is the seq of the last reading seen: 0, 1, 2, …")
    return int(values[-1])

"""Who connects: the user name and the password of CONNECT are a device and its key, or one of them is a key."""

from dataclasses import replace

import msgspec

from devices.access.authentication import INVALID_KEY
from devices.access.callers import Caller, Role
from devices.access.permissions import MissingScope
from devices.keys import PREFIX, TOKEN_PREFIX, hash_key
from devices.tokens.scopes import Scope
from readings.doors.mqtt.codec.packets import Connect
from readings.doors.mqtt.codec.reasons import Reason
from readings.doors.mqtt.way import Way

PREFIXES = (PREFIX, TOKEN_PREFIX)
# The caller of every device, without the device, because a connection keeps it and needs no more than its id.
ANY_DEVICE = Caller(role=Role.DEVICE)


class Identity(msgspec.Struct, frozen=True):
    """`own`: the device of the key; None: a gateway, which may have a token (`caller`).

    `key_hash`: of a device's key or of a token; None: a key from the settings. `name`: under which connections with the
    same key are counted together. `caller`: ANY_DEVICE for a device.
    """

    own: str | None
    key_hash: str | None
    name: str
    caller: Caller


class NotAdmitted(Exception):
    """`reason` is for CONNACK. The other attributes are those of the refused post; `caller` None: an unknown key."""

    def __init__(
        self, reason: Reason, code: str, detail: str, *, status: int = 401, caller: Caller | None = None, key: str = ""
    ) -> None:
        super().__init__(detail)
        self.reason, self.code, self.detail = reason, code, detail
        self.status, self.caller, self.key = status, caller, key


async def identify(connect: Connect, way: Way) -> Identity:
    """Raises NotAdmitted, and DatabaseError if the key cannot be looked up."""
    user_name = (connect.user_name or "").strip()
    password = (connect.password or b"").decode("utf-8", "surrogateescape").strip()
    # ThingsBoard's way is the key as user name, with any password or none.
    keys = [user_name] if user_name.startswith(PREFIXES) and not password.startswith(PREFIXES) else []
    if password:
        keys.insert(0, password)
    elif user_name and not keys:
        keys.append(user_name)
    if not keys:
        detail = "Send the device id as user name and its key as password, or the key as user name."
        raise NotAdmitted(Reason.BAD_CREDENTIALS, "not_authenticated", detail)
    for key in keys:
        if (caller := await way.caller(key)) is not None:
            # Without `found`, because `Clients.look` checks the keys of all connections, not each commit.
            return identity_of(replace(caller, found=None), key, "" if key == user_name else user_name)
    raise NotAdmitted(Reason.BAD_CREDENTIALS, "invalid_key", INVALID_KEY, key=keys[0])


def identity_of(caller: Caller, key: str, user_name: str) -> Identity:
    if caller.role is Role.ADMIN:
        detail = "The administrator's key cannot post readings. Use a device's key or a fleet key."
        raise NotAdmitted(Reason.NOT_AUTHORIZED, "permission_denied", detail, status=403, caller=caller)
    if caller.token is not None and not caller.has_scope(Scope.INGEST):
        detail = str(MissingScope(Scope.INGEST, caller.token.scopes).detail)
        raise NotAdmitted(Reason.NOT_AUTHORIZED, "missing_scope", detail, status=403, caller=caller)
    if caller.device is None:
        return Identity(None, hash_key(key) if caller.token else None, f"gateway {hash(key)}", caller)
    own = caller.device.device_id
    if user_name and user_name != own:
        detail = f"The user name is not the device of this key. Send the user name {own}, or the key as user name."
        raise NotAdmitted(Reason.BAD_CREDENTIALS, "other_device", detail, caller=caller)
    return Identity(own, hash_key(key), own, ANY_DEVICE)

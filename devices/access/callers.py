"""The caller of a request: the result of authentication, for both HTTP and WebSocket."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User

from devices.access.roles import has_role
from devices.models import Device


class Role(StrEnum):
    ADMIN = "admin"
    DEVICE = "device"
    FLEET = "fleet"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """`device` is set only for the role DEVICE; `user` is set for a signed-in account, which has the role ADMIN.

    The role ADMIN alone gives an account no rights: its Django permissions do (see `may`).
    """

    role: Role
    device: Device | None = None
    user: User | None = None

    def may(self, permission: str) -> bool:
        """Whether the caller is an administrator with this Django permission, such as "devices.view_device"."""
        if self.role is not Role.ADMIN:
            return False
        if self.user is None:
            return True
        return self.user.has_perm(permission) and has_role(self.user)


def shared_key_caller(key: str) -> Caller | None:
    """The caller for a key from the settings: the administrator or a gateway; None for any other key."""
    # Compared as bytes because compare_digest refuses text with non-ASCII characters.
    given = key.encode("utf-8", "surrogateescape")
    if settings.API_SECRET_KEY and hmac.compare_digest(given, settings.API_SECRET_KEY.encode()):
        return Caller(role=Role.ADMIN)
    if any(hmac.compare_digest(given, fleet_key.encode()) for fleet_key in settings.DEVICE_API_KEYS if fleet_key):
        return Caller(role=Role.FLEET)
    return None


def caller_for_key(key: str, *, now: datetime) -> Caller | None:
    """The caller for a key; None if the key is unknown, revoked or expired, or if its device is inactive."""
    if (shared := shared_key_caller(key)) is not None:
        return shared
    device = Device.objects.for_key(key, now=now)
    return Caller(role=Role.DEVICE, device=device) if device else None


def caller_for_user(user: AbstractBaseUser | AnonymousUser | None) -> Caller | None:
    """The caller for the account of a session; None if nobody is signed in or the account is inactive."""
    if not isinstance(user, User) or not user.is_active:
        return None
    return Caller(role=Role.ADMIN, user=user)

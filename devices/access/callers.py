"""Who is calling: the result of authentication, for HTTP and WebSockets alike."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User

from devices.models import Device


class Role(StrEnum):
    ADMIN = "admin"
    DEVICE = "device"
    FLEET = "fleet"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """`device` is set for the role DEVICE alone; `user` for a signed-in account, which has the role ADMIN.

    An account's role says nothing yet: what it may do is what its Django permissions say.
    """

    role: Role
    device: Device | None = None
    user: User | None = None

    def may(self, permission: str) -> bool:
        """Whether an administrator may do what the Django permission ("devices.view_device") stands for."""
        if self.role is not Role.ADMIN:
            return False
        if self.user is None:
            return True
        return bool(self.user.is_active and self.user.is_staff and self.user.has_perm(permission))


def shared_key_caller(key: str) -> Caller | None:
    """Whom a key of the settings belongs to: the administrator, a gateway, or (None) nobody."""
    # Compared as bytes: compare_digest takes no text beyond ASCII.
    given = key.encode("utf-8", "surrogateescape")
    if settings.API_SECRET_KEY and hmac.compare_digest(given, settings.API_SECRET_KEY.encode()):
        return Caller(role=Role.ADMIN)
    if any(hmac.compare_digest(given, fleet_key.encode()) for fleet_key in settings.DEVICE_API_KEYS if fleet_key):
        return Caller(role=Role.FLEET)
    return None


def caller_for_key(key: str, *, now: datetime) -> Caller | None:
    """Whom a key belongs to; None for a key that is unknown, revoked, expired or of an inactive device."""
    if (shared := shared_key_caller(key)) is not None:
        return shared
    device = Device.objects.for_key(key, now=now)
    return Caller(role=Role.DEVICE, device=device) if device else None


def caller_for_user(user: AbstractBaseUser | AnonymousUser | None) -> Caller | None:
    """The signed-in account of a session; None for nobody."""
    if not isinstance(user, User) or not user.is_active:
        return None
    return Caller(role=Role.ADMIN, user=user)

"""DRF authentication classes; they set `request.auth` to a `devices.access.callers.Caller`."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from devices.access.callers import Caller, caller_for_key, caller_for_user
from devices.access.current import calling_device

INVALID_KEY = "Invalid key: it is unknown, expired, revoked, or its device is inactive."


def key_in(*, api_key: str | None, authorization: str | None) -> str | None:
    """The key in a request's `X-API-Key` or `Authorization: Bearer` header; None if the request has neither header."""
    if api_key is not None:
        return api_key.strip()
    scheme, _, credentials = (authorization or "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" else None


def caller_of(request: Request) -> Caller:
    """The authenticated caller. Only for views whose permissions have already refused unauthenticated requests."""
    caller: Any = request.auth
    assert isinstance(caller, Caller)
    return caller


class KeyAuthentication(BaseAuthentication):
    """Authentication by key. A key takes precedence: an invalid key is a 401 even with a valid session."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Caller] | None:
        key = key_in(api_key=request.headers.get("X-API-Key"), authorization=request.headers.get("Authorization"))
        if key is None:
            return None
        caller = caller_for_key(key, now=timezone.now())
        if caller is None:
            raise AuthenticationFailed(INVALID_KEY, code="invalid_key")
        if caller.device:
            calling_device.set(caller.device.device_id)
        return AnonymousUser(), caller

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="telemetry"'


class StaffSessionAuthentication(SessionAuthentication):
    """Authentication by a session of the admin site, with CSRF enforced."""

    def authenticate(self, request: Request) -> tuple[Any, Caller] | None:
        signed_in = super().authenticate(request)
        caller = caller_for_user(signed_in[0]) if signed_in else None
        return (caller.user, caller) if caller else None

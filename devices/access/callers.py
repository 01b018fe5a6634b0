"""The caller of a request: the result of authentication, for both HTTP and WebSocket."""

import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, User

from devices.access.roles import has_role
from devices.keys import TOKEN_PREFIX, hash_key
from devices.models import ApiToken, Device
from devices.tokens.models import limits_of_accounts
from devices.tokens.querysets import ValidToken
from devices.tokens.scopes import Scope, includes


class Role(StrEnum):
    ADMIN = "admin"
    DEVICE = "device"
    FLEET = "fleet"
    TOKEN = "token"  # noqa: S105


class LookUp(NamedTuple):
    """The look-up of a key: it holds while `AccessVersion` is `version`, until the time `until` (None: no end)."""

    key_hash: str
    version: int
    until: datetime | None

    def holds(self, version: int, *, now: datetime) -> bool:
        return self.version == version and (self.until is None or now < self.until)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """`device` is set only for the role DEVICE, `token` only for TOKEN; `user` for a signed-in account, role ADMIN.

    The role ADMIN alone gives an account no rights: its Django permissions do (see `may`). `found` is the look-up of
    the key in the database, for the roles DEVICE and TOKEN.
    """

    role: Role
    device: Device | None = None
    user: User | None = None
    token: ValidToken | None = None
    found: LookUp | None = field(default=None, compare=False)

    def may(self, permission: str) -> bool:
        """Whether the caller has this Django permission, such as "devices.view_device"; devices and gateways none."""
        if self.token is not None:
            return includes(self.token.scopes, permission)
        if self.role is not Role.ADMIN:
            return False
        if self.user is None:
            return True
        return self.user.has_perm(permission) and has_role(self.user)

    def is_doubtful(self, version: int, *, now: datetime) -> bool:
        """Whether the look-up of the key, if there was one, no longer holds at this `AccessVersion`."""
        return self.found is not None and not self.found.holds(version, now=now)

    def has_scope(self, scope: Scope) -> bool:
        return self.token is not None and scope in self.token.scopes

    @cached_property
    def limit(self) -> frozenset[int] | None:
        """The tags that limit the caller to the devices that have one of them; None: it sees every device.

        Of an account, the first use is a query.
        """
        if self.token is not None:
            return self.token.limit
        return None if self.user is None else limit_of_account(self.user)


def limit_of_account(user: User) -> frozenset[int] | None:
    """The tags that limit the account; None: it sees every device, as a superuser does. Looked up once for `user`."""
    if user.is_superuser:
        return None
    known: dict[str, frozenset[int] | None] = user.__dict__
    if "device_limit" not in known:
        known["device_limit"] = limits_of_accounts([user.pk]).get(user.pk)
    return known["device_limit"]


def is_token(key: str) -> bool:
    return key.startswith(TOKEN_PREFIX)


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
    """The caller for a key or token; None if it is unknown, revoked or expired, or if its device is inactive."""
    if (shared := shared_key_caller(key)) is not None:
        return shared
    digest = hash_key(key)
    return callers_for_hashes(() if is_token(key) else [digest], [digest] if is_token(key) else (), now=now).get(digest)


def callers_for_hashes(keys: Collection[str], tokens: Collection[str], *, now: datetime) -> dict[str, Caller]:
    """The callers for these hashes of keys of devices and of tokens, by hash; one query for each kind there is."""
    found: dict[str, Caller] = {}
    if keys:
        for digest, (device, until, version) in Device.objects.owners_of_keys(keys, now=now).items():
            found[digest] = Caller(role=Role.DEVICE, device=device, found=LookUp(digest, version, until))
    if tokens:
        for digest, (token, until, version) in ApiToken.objects.for_hashes(tokens, now=now).items():
            found[digest] = Caller(role=Role.TOKEN, token=token, found=LookUp(digest, version, until))
    return found


def callers_again(callers: Sequence[Caller], *, now: datetime) -> list[Caller | None]:
    """Looks up the keys of these callers again, in order; None where the key is no longer valid."""
    hashes = [caller.found.key_hash if caller.found is not None else "" for caller in callers]
    tokens = {digest for digest, caller in zip(hashes, callers, strict=True) if caller.role is Role.TOKEN}
    found = callers_for_hashes(set(hashes) - tokens, tokens, now=now)
    return [found.get(digest) for digest in hashes]


def caller_for_user(user: AbstractBaseUser | AnonymousUser | None) -> Caller | None:
    """The caller for the account of a session; None if nobody is signed in or the account is inactive."""
    if not isinstance(user, User) or not user.is_active:
        return None
    return Caller(role=Role.ADMIN, user=user)


def viewer_of(user: AbstractBaseUser | AnonymousUser) -> Caller:
    """The caller for the account of a page, which `for_accounts_with` or the console has admitted."""
    caller = caller_for_user(user)
    assert caller is not None
    return caller

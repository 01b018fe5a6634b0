"""The credential that a socket was opened with, and the checks, repeated while it is open, that it is still valid."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import Min
from django.utils.crypto import constant_time_compare

from devices.access.callers import Caller, Role
from devices.access.roles import HAS_ROLE
from devices.models import AccessVersion, ApiToken, Device
from devices.querysets import OfTags
from devices.tokens.models import limits_of_accounts

if TYPE_CHECKING:
    from realtime.querysets import ShareQuerySet

WATCH_PERMISSION = "readings.view_reading"
ALARMS_PERMISSION = "alarms.view_alarm"
# The authentication backend that knows permissions; `with_perm` needs it by name.
PERMISSIONS = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """The credential of a socket: at most one field is set.

    `key_hash` is the hash of a device's key, `session_key` that of a signed-in session, `user_id` the id of the
    account that issued a ticket, `token_id` that of an API token, `share_hash` the hash of the token of a link to a
    view. None set: a key from the settings, which is valid as long as the process runs.
    """

    key_hash: str | None = None
    token_id: int | None = None
    session_key: str | None = None
    user_id: int | None = None
    share_hash: str | None = None


def users_of_sessions(session_keys: Collection[str], *, now: datetime) -> dict[str, User]:
    """The active accounts signed in with these sessions, by session key. At most two queries."""
    # A quoted cookie can contain a NUL character, which PostgreSQL rejects with an error.
    well_formed = [key for key in session_keys if key.isascii() and key.isalnum()]
    if not well_formed:
        return {}
    sessions = {
        session.session_key: session.get_decoded()
        for session in Session.objects.filter(session_key__in=well_formed, expire_date__gt=now)
    }
    ids = {values[SESSION_KEY] for values in sessions.values() if SESSION_KEY in values}
    users = {str(user.pk): user for user in User.objects.filter(pk__in=ids, is_active=True)} if ids else {}
    return {
        key: user
        for key, values in sessions.items()
        if (user := users.get(str(values.get(SESSION_KEY)))) is not None
        and any(
            constant_time_compare(values.get(HASH_SESSION_KEY, ""), current)
            for current in (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
        )
    }


class Rights(NamedTuple):
    """What a credential may watch. A device's key may watch that device alone.

    `devices`: the ids of the devices that it may see; None: every device.
    """

    readings: bool
    alarms: bool
    devices: frozenset[str] | None = None


SHARED = Rights(readings=True, alarms=False)
ALL_RIGHTS, NO_RIGHTS = Rights(readings=True, alarms=True), Rights(readings=False, alarms=False)


class Standing(NamedTuple):
    """The result of a check: what each credential may watch at `version` (of `AccessVersion`).

    `until` is when the next of them expires, as a key does at the end of its overlap; None: none has an expiry.
    """

    version: int
    rights: dict[Credential, Rights]
    until: datetime | None


def standing(credentials: Collection[Credential], *, version: int | None, now: datetime) -> Standing | None:
    """Checks these credentials; returns None, after one query, if `AccessVersion` is still at `version`."""
    current = AccessVersion.objects.current()  # read first, so that the next check finds a change made during this one
    if current == version:
        return None
    return Standing(current, rights_of(credentials, now=now), next_end(credentials, now=now))


def next_end(credentials: Collection[Credential], *, now: datetime) -> datetime | None:
    """The earliest time at which one of these credentials expires; None if none has an expiry. Three queries."""
    hashes = {c.key_hash for c in credentials if c.key_hash is not None}
    sessions = {c.session_key for c in credentials if c.session_key is not None}
    retiring = Device.objects.filter(retiring_key_hash__in=hashes, retiring_key_expires_at__gt=now)
    signed_in = Session.objects.filter(session_key__in=sessions, expire_date__gt=now)
    tokens = ApiToken.objects.valid(now=now).filter(pk__in={c.token_id for c in credentials if c.token_id is not None})
    ends = (
        tokens.aggregate(end=Min("expires_at"))["end"],
        *shares(credentials, now=now).aggregate(share=Min("expires_at"), maker=Min("token__expires_at")).values(),
        retiring.aggregate(end=Min("retiring_key_expires_at"))["end"],
        signed_in.aggregate(end=Min("expire_date"))["end"],
    )
    return min((end for end in ends if end is not None), default=None)


def revoked(credentials: Collection[Credential], *, now: datetime) -> set[Credential]:
    """The credentials that may no longer watch readings, for the reasons that `rights_of` names."""
    rights = rights_of(credentials, now=now)
    return {credential for credential in credentials if not rights[credential].readings}


def rights_of(credentials: Collection[Credential], *, now: datetime) -> dict[Credential, Rights]:
    """What these credentials may watch.

    They may watch less, or nothing, if a key was rotated, a device or account deactivated, a session ended, or a
    permission taken away. The number of queries does not depend on the number of credentials, but on how many different
    limits they have.
    """
    hashes = {c.key_hash for c in credentials if c.key_hash is not None}
    known = Device.objects.for_key_hashes(hashes, now=now) if hashes else {}
    sessions = {c.session_key for c in credentials if c.session_key is not None}
    signed_in = users_of_sessions(sessions, now=now) if sessions else {}
    user_ids = {c.user_id for c in credentials if c.user_id is not None} | {user.pk for user in signed_in.values()}
    may_watch, may_see_alarms = (
        accounts_with(permission, user_ids) for permission in (WATCH_PERMISSION, ALARMS_PERMISSION)
    )

    shared = set(shares(credentials, now=now).values_list("token_hash", flat=True))
    token_ids = {c.token_id for c in credentials if c.token_id is not None}
    tokens = ApiToken.objects.by_id(token_ids, now=now) if token_ids else {}
    limits = limits_of_accounts(user_ids - superusers(user_ids)) if user_ids else {}
    seen = devices_seen({*limits.values(), *(token.limit for token in tokens.values() if token.limit is not None)})

    def rights(c: Credential) -> Rights:
        if c.share_hash is not None:
            return SHARED if c.share_hash in shared else NO_RIGHTS
        if c.token_id is not None:
            if (token := tokens.get(c.token_id)) is None:
                return NO_RIGHTS
            caller = Caller(role=Role.TOKEN, token=token)
            devices = None if token.limit is None else seen[token.limit]
            return Rights(caller.may(WATCH_PERMISSION), caller.may(ALARMS_PERMISSION), devices)
        if c.key_hash is not None:
            return ALL_RIGHTS if c.key_hash in known else NO_RIGHTS
        user_id = c.user_id
        if c.session_key is not None:
            if c.session_key not in signed_in:
                return NO_RIGHTS
            user_id = signed_in[c.session_key].pk
        if user_id is None:
            return ALL_RIGHTS
        devices = seen[limits[user_id]] if user_id in limits else None
        return Rights(user_id in may_watch, user_id in may_see_alarms, devices)

    return {credential: rights(credential) for credential in credentials}


def superusers(user_ids: Collection[int]) -> set[int]:
    return set(User.objects.filter(pk__in=user_ids, is_superuser=True).values_list("pk", flat=True))


def devices_seen(limits: Collection[frozenset[int]]) -> dict[frozenset[int], frozenset[str]]:
    """The devices that viewers limited to these tags see, by limit. One query for each limit."""
    return {
        limit: frozenset(Device.objects.visible_to(OfTags(limit)).values_list("device_id", flat=True))
        for limit in limits
    }


def accounts_with(permission: str, user_ids: Collection[int]) -> set[int]:
    """Those of these accounts that have a role and this permission."""
    if not user_ids:
        return set()
    accounts = User.objects.with_perm(permission, backend=PERMISSIONS)
    return set(accounts.filter(HAS_ROLE, pk__in=user_ids).values_list("pk", flat=True))


def shares(credentials: Collection[Credential], *, now: datetime) -> "ShareQuerySet":
    """The valid links to views among these credentials. No query if there is none."""
    from realtime.models import Share

    hashes = {c.share_hash for c in credentials if c.share_hash is not None}
    return Share.objects.valid(now=now).filter(token_hash__in=hashes) if hashes else Share.objects.none()

"""The credential that a socket was opened with, and the checks, repeated while it is open, that it is still valid."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import Min
from django.utils.crypto import constant_time_compare

from devices.access.roles import HAS_ROLE
from devices.models import AccessVersion, Device

WATCH_PERMISSION = "readings.view_reading"
# The authentication backend that knows permissions; `with_perm` needs it by name.
PERMISSIONS = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """The credential of a socket: at most one field is set.

    `key_hash` is the hash of a device's key, `session_key` that of a signed-in session, `user_id` the id of the
    account that issued a ticket. None set: a key from the settings, which is valid as long as the process runs.
    """

    key_hash: str | None = None
    session_key: str | None = None
    user_id: int | None = None


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


class Standing(NamedTuple):
    """The result of a check: at `version` (of `AccessVersion`) the credentials in `revoked` were no longer valid.

    `until` is when the next of the others expires, as a key does at the end of its overlap; None: none has an expiry.
    """

    version: int
    revoked: frozenset[Credential]
    until: datetime | None


def standing(credentials: Collection[Credential], *, version: int | None, now: datetime) -> Standing | None:
    """Checks these credentials; returns None, after one query, if `AccessVersion` is still at `version`."""
    current = AccessVersion.objects.current()  # read first, so that the next check finds a change made during this one
    if current == version:
        return None
    return Standing(current, frozenset(revoked(credentials, now=now)), next_end(credentials, now=now))


def next_end(credentials: Collection[Credential], *, now: datetime) -> datetime | None:
    """The earliest time at which one of these credentials expires; None if none has an expiry. Two queries."""
    hashes = {c.key_hash for c in credentials if c.key_hash is not None}
    sessions = {c.session_key for c in credentials if c.session_key is not None}
    retiring = Device.objects.filter(retiring_key_hash__in=hashes, retiring_key_expires_at__gt=now)
    signed_in = Session.objects.filter(session_key__in=sessions, expire_date__gt=now)
    ends = (
        retiring.aggregate(end=Min("retiring_key_expires_at"))["end"],
        signed_in.aggregate(end=Min("expire_date"))["end"],
    )
    return min((end for end in ends if end is not None), default=None)


def revoked(credentials: Collection[Credential], *, now: datetime) -> set[Credential]:
    """The credentials that are no longer valid.

    Reasons are a rotated key, a deactivated device or account, an ended session, or a permission that was taken away.
    The number of queries does not depend on the number of credentials.
    """
    hashes = {c.key_hash for c in credentials if c.key_hash is not None}
    known = Device.objects.for_key_hashes(hashes, now=now) if hashes else {}
    sessions = {c.session_key for c in credentials if c.session_key is not None}
    signed_in = users_of_sessions(sessions, now=now) if sessions else {}
    user_ids = {c.user_id for c in credentials if c.user_id is not None} | {user.pk for user in signed_in.values()}
    allowed: set[int] = set()
    if user_ids:
        may_watch = User.objects.with_perm(WATCH_PERMISSION, backend=PERMISSIONS)
        allowed = set(may_watch.filter(HAS_ROLE, pk__in=user_ids).values_list("pk", flat=True))

    def counts(c: Credential) -> bool:
        if c.key_hash is not None:
            return c.key_hash in known
        if c.session_key is not None:
            return c.session_key in signed_in and signed_in[c.session_key].pk in allowed
        return c.user_id is None or c.user_id in allowed

    return {credential for credential in credentials if not counts(credential)}

"""On whose account a socket is open, and whether that still counts: asked again and again while it is."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models import Min
from django.utils.crypto import constant_time_compare

from devices.models import AccessVersion, Device

WATCH_PERMISSION = "readings.view_reading"
# Of the backends, the one that knows who may do what.
PERMISSIONS = "django.contrib.auth.backends.ModelBackend"


@dataclass(frozen=True, kw_only=True)
class Credential:
    """One of these, or none of them: a key of the settings, which ends with the process.

    `key_hash` of a device's key, `session_key` of a signed-in session, `user_id` of an account that issued a ticket.
    """

    key_hash: str | None = None
    session_key: str | None = None
    user_id: int | None = None


def users_of_sessions(session_keys: Collection[str], *, now: datetime) -> dict[str, User]:
    """The active accounts that are signed in by these sessions; two queries for any number."""
    # PostgreSQL fails on a NUL, which a quoted cookie may spell.
    askable = [key for key in session_keys if key.isascii() and key.isalnum()]
    if not askable:
        return {}
    sessions = {
        session.session_key: session.get_decoded()
        for session in Session.objects.filter(session_key__in=askable, expire_date__gt=now)
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
    """What became of credentials: at `version` (of `AccessVersion`), those `revoked` counted no more.

    At `until` another one ends by itself, as a key does after its overlap; None: not as long as nothing is changed.
    """

    version: int
    revoked: frozenset[Credential]
    until: datetime | None


def standing(credentials: Collection[Credential], *, version: int | None, now: datetime) -> Standing | None:
    """How these credentials stand; None where nothing has changed since `version`."""
    current = AccessVersion.objects.current()  # first: what changes meanwhile is to be found by the next look
    if current == version:
        return None
    return Standing(current, frozenset(revoked(credentials, now=now)), next_end(credentials, now=now))


def next_end(credentials: Collection[Credential], *, now: datetime) -> datetime | None:
    """When the first of these credentials ends by itself."""
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
    """Those that count no more: a key rotated, a device or account deactivated, a session ended, a permission taken.

    A constant number of queries.
    """
    hashes = {c.key_hash for c in credentials if c.key_hash is not None}
    known = Device.objects.for_key_hashes(hashes, now=now) if hashes else {}
    sessions = {c.session_key for c in credentials if c.session_key is not None}
    signed_in = users_of_sessions(sessions, now=now) if sessions else {}
    user_ids = {c.user_id for c in credentials if c.user_id is not None} | {user.pk for user in signed_in.values()}
    allowed: set[int] = set()
    if user_ids:
        may_watch = User.objects.with_perm(WATCH_PERMISSION, backend=PERMISSIONS)
        allowed = set(may_watch.filter(pk__in=user_ids, is_staff=True).values_list("pk", flat=True))

    def counts(c: Credential) -> bool:
        if c.key_hash is not None:
            return c.key_hash in known
        if c.session_key is not None:
            return c.session_key in signed_in and signed_in[c.session_key].pk in allowed
        return c.user_id is None or c.user_id in allowed

    return {credential for credential in credentials if not counts(credential)}

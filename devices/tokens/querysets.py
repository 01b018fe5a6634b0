from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from django.db import models
from django.db.models import Q, Subquery
from django.db.models.functions import Coalesce

from devices.tokens.scopes import Scope
from devices.tokens.uses import NOTED_AFTER, uses

if TYPE_CHECKING:
    from devices.tokens.models import ApiToken  # noqa: F401  named in a base class


class ValidToken(NamedTuple):
    """What a request needs of its token. `limit`: the tags that limit it; None: it sees every device."""

    id: int
    name: str
    scopes: frozenset[Scope]
    limit: frozenset[int] | None


class TokenQuerySet(models.QuerySet["ApiToken"]):
    def valid(self, *, now: datetime) -> Self:
        """Only tokens that have not expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now))

    def by_name(self) -> Self:
        return self.order_by("name", "id")


class KnownToken(NamedTuple):
    """A token as it was at `version` of `AccessVersion`. `expires_at`: None if it has no end."""

    token: ValidToken
    used_at: datetime | None
    expires_at: datetime | None
    version: int


class TokenOwner(NamedTuple):
    """A token, valid while `AccessVersion` is `version`; its use has to be noted again at `until` at the latest."""

    token: ValidToken
    until: datetime
    version: int


TokensByQuerySet = models.Manager.from_queryset(TokenQuerySet)


class TokenManager(TokensByQuerySet["ApiToken"]):
    """Methods for all tokens; not methods of the QuerySet, because they would ignore its filters."""

    def for_hashes(self, digests: Collection[str], *, now: datetime) -> dict[str, TokenOwner]:
        """The valid tokens with these hashes, by hash, in one query; has it noted that they are used."""
        found = self.lookup("token_hash", digests, now=now)
        owners, unnoted = {}, []
        for digest, (token, used_at, expires_at, version) in found.items():
            if used_at is None or used_at < now - NOTED_AFTER:
                unnoted.append(token.id)
                used_at = now
            until = used_at + NOTED_AFTER
            owners[digest] = TokenOwner(token, until if expires_at is None else min(until, expires_at), version)
        if unnoted:
            uses.note(unnoted, now=now)
        return owners

    def by_id(self, ids: Collection[int], *, now: datetime) -> dict[int, ValidToken]:
        """The valid ones of these tokens, by id, in one query. That is no use of them."""
        return {known.token.id: known.token for known in self.lookup("id", ids, now=now).values()}

    def lookup(self, field: str, values: Iterable[str | int], *, now: datetime) -> Mapping[str, KnownToken]:
        """The valid tokens by hash. One query, so that the version is that of the same snapshot."""
        from devices.models import AccessVersion

        rows = self.filter(**{f"{field}__in": list(values)}).valid(now=now)
        rows = rows.annotate(version=Coalesce(Subquery(AccessVersion.objects.values("version")[:1]), 0))
        found: dict[str, KnownToken] = {}
        limits: dict[str, set[int]] = {}
        columns = ("token_hash", "id", "name", "scopes", "last_used_at", "expires_at", "version", "tags")
        for digest, pk, name, scopes, used_at, expires_at, version, tag_id in rows.values_list(*columns):
            token = ValidToken(pk, name, frozenset(map(Scope, scopes.split(","))), None)
            found[digest] = KnownToken(token, used_at, expires_at, version)
            if tag_id is not None:
                limits.setdefault(digest, set()).add(tag_id)
        for digest, tags in limits.items():
            known = found[digest]
            found[digest] = known._replace(token=known.token._replace(limit=frozenset(tags)))
        return found

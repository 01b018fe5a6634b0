from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from django.db import models
from django.db.models import Q

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


TokensByQuerySet = models.Manager.from_queryset(TokenQuerySet)


class TokenManager(TokensByQuerySet["ApiToken"]):
    """Methods for all tokens; not methods of the QuerySet, because they would ignore its filters."""

    def for_hashes(self, digests: Collection[str], *, now: datetime) -> dict[str, ValidToken]:
        """The valid tokens with these hashes, by hash, in one query; has it noted that they are used."""
        found = self.lookup("token_hash", digests, now=now)
        unnoted = [token.id for token, used_at in found.values() if used_at is None or used_at < now - NOTED_AFTER]
        if unnoted:
            uses.note(unnoted, now=now)
        return {str(digest): token for digest, (token, _) in found.items()}

    def by_id(self, ids: Collection[int], *, now: datetime) -> dict[int, ValidToken]:
        """The valid ones of these tokens, by id, in one query. That is no use of them."""
        return {token.id: token for token, _ in self.lookup("id", ids, now=now).values()}

    def lookup(
        self, field: str, values: Iterable[str | int], *, now: datetime
    ) -> Mapping[str, tuple[ValidToken, datetime | None]]:
        """The valid tokens by hash, each with `last_used_at`."""
        rows = self.filter(**{f"{field}__in": list(values)}).valid(now=now)
        found: dict[str, tuple[ValidToken, datetime | None]] = {}
        limits: dict[str, set[int]] = {}
        columns = ("token_hash", "id", "name", "scopes", "last_used_at", "tags")
        for digest, pk, name, scopes, used_at, tag_id in rows.values_list(*columns):
            found[digest] = (ValidToken(pk, name, frozenset(map(Scope, scopes.split(","))), None), used_at)
            if tag_id is not None:
                limits.setdefault(digest, set()).add(tag_id)
        for digest, tags in limits.items():
            token, used_at = found[digest]
            found[digest] = (token._replace(limit=frozenset(tags)), used_at)
        return found

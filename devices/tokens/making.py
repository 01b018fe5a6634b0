"""Creates and revokes API tokens. Everything that does so calls this."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from devices.changes.log import Author, log_added, log_deleted
from devices.keys import generate_token, hash_key, key_hint
from devices.models import AccountTag, ApiToken, Tag, TokenTag
from devices.tags.tagging import tags_named
from devices.times import rfc3339
from devices.tokens.scopes import Scope

# Maximum numbers: of tokens, and of tags that limit one token or account.
TOKENS_MAX = 1_000
LIMIT_TAGS_MAX = 100


class TokenNameTaken(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(f"There is already a token {name!r}.")


class TooManyTokens(Exception):
    def __init__(self) -> None:
        super().__init__(f"There may be {TOKENS_MAX:,} tokens. Delete those that are not used.")


def create_token(
    *,
    name: str,
    scopes: Collection[Scope],
    tags: Sequence[str] = (),
    expires_at: datetime | None = None,
    now: datetime,
    by: Author,
) -> tuple[ApiToken, str]:
    """A new token, and its text, which cannot be shown again. With `tags` it is limited to them.

    Raises TokenNameTaken, TooManyTokens, and UnknownTags for tags that do not exist.
    """
    token = generate_token()
    with transaction.atomic():
        if ApiToken.objects.count() >= TOKENS_MAX:
            raise TooManyTokens
        limits = tags_named(tags, may_create=False, by=by)
        try:
            with transaction.atomic():
                made = ApiToken.objects.create(
                    name=name,
                    token_hash=hash_key(token),
                    token_hint=key_hint(token),
                    scopes=",".join(sorted(scopes)),
                    created_at=now,
                    created_by=by.name,
                    expires_at=expires_at,
                )
        except IntegrityError as error:
            raise TokenNameTaken(name) from error
        TokenTag.objects.bulk_create([TokenTag(token=made, tag=tag) for tag in limits])
        log_added([made], by=by)
    return made, token


def delete_token(token: ApiToken, *, by: Author) -> None:
    """Revokes the token: from the commit on it is refused."""
    with transaction.atomic():
        log_deleted([token], by=by)
        token.delete()


def limited_to(tag: Tag) -> list[str]:
    """The tokens and accounts that are limited to this tag, and perhaps to others."""
    tokens = ApiToken.objects.filter(pk__in=TokenTag.objects.filter(tag=tag).values("token_id"))
    accounts = User.objects.filter(pk__in=AccountTag.objects.filter(tag=tag).values("user_id"))
    return [
        *(f"the API token {name}" for name in tokens.by_name().values_list("name", flat=True)),
        *(f"the account {name}" for name in accounts.order_by("username").values_list("username", flat=True)),
    ]


def token_document(token: ApiToken) -> dict[str, Any]:
    """The token as the API returns it, without its text."""
    at = {name: getattr(token, name) for name in ("created_at", "expires_at", "last_used_at")}
    return {
        "id": token.pk,
        "name": token.name,
        "starts_with": token.token_hint,
        "scopes": sorted(token.scope_set),
        "tags": [tag.name for tag in sorted(token.tags.all(), key=lambda tag: tag.key)],
        "created_by": token.created_by,
    } | {name: None if moment is None else rfc3339(moment) for name, moment in at.items()}

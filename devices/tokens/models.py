"""API tokens, and the tags that limit tokens and accounts to some devices."""

from collections.abc import Collection
from datetime import datetime

from django.conf import settings
from django.db import models

from devices.tokens.querysets import TokenManager
from devices.tokens.scopes import SCOPES_CHARACTERS, Scope

TOKEN_NAME_CHARACTERS = 100


class ApiToken(models.Model):
    """A key for the API with a name, some scopes and perhaps an end; only its hash is stored.

    Created and deleted by `devices.tokens.making`, and never changed but for `last_used_at` and what it has registered.
    With tags (`TokenTag`) it is limited to the devices that have at least one of them.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=TOKEN_NAME_CHARACTERS, unique=True)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    token_hint = models.CharField("token starts with", max_length=16, editable=False)
    # Names of `scopes.Scope`, sorted and separated by commas.
    scopes = models.CharField(max_length=SCOPES_CHARACTERS)
    created_at = models.DateTimeField()
    created_by = models.CharField(max_length=150)
    expires_at = models.DateTimeField(null=True)
    # At most a minute old while it is used.
    last_used_at = models.DateTimeField(null=True)
    # When the current hour of `readings.doors.registering` began, and how many devices it has registered since.
    registering_since = models.DateTimeField(null=True, editable=False)
    registered_count = models.PositiveIntegerField(null=True, editable=False)
    tags = models.ManyToManyField("devices.Tag", through="TokenTag", related_name="+")

    objects = TokenManager()

    class Meta:
        verbose_name = "API token"
        default_permissions = ("add", "delete", "view")

    def __str__(self) -> str:
        return self.name

    @property
    def scope_set(self) -> frozenset[Scope]:
        return frozenset(Scope(name) for name in self.scopes.split(","))

    def has_expired(self, *, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


class TokenTag(models.Model):
    """A tag that limits a token. The tag cannot be deleted, because the token would then be less limited."""

    pk = models.CompositePrimaryKey("token_id", "tag_id")
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, related_name="+", db_index=False)
    tag = models.ForeignKey("devices.Tag", on_delete=models.PROTECT, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.token_id} {self.tag_id}"


class AccountTag(models.Model):
    """A tag that limits an account. The tag cannot be deleted, because the account would then be less limited."""

    pk = models.CompositePrimaryKey("user_id", "tag_id")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    tag = models.ForeignKey("devices.Tag", on_delete=models.PROTECT, related_name="+")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.user_id} {self.tag_id}"


def limits_of_accounts(user_ids: Collection[int]) -> dict[int, frozenset[int]]:
    """The tags that limit these accounts, by account. An account that sees every device is left out. One query."""
    found: dict[int, set[int]] = {}
    if user_ids:
        for user_id, tag_id in AccountTag.objects.filter(user_id__in=user_ids).values_list("user_id", "tag_id"):
            found.setdefault(user_id, set()).add(tag_id)
    return {user_id: frozenset(tags) for user_id, tags in found.items()}

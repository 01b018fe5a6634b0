import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import User
from django.db import models, transaction
from django.db.models import Q

from devices.access.roles import HAS_ROLE
from devices.keys import hash_key
from devices.models import ApiToken, Device
from realtime.access.credentials import PERMISSIONS, WATCH_PERMISSION

if TYPE_CHECKING:
    from realtime.models import Share, Ticket, View

LIFETIME = timedelta(seconds=30)
# Of a link's token: 32 characters in a URL.
TOKEN_BYTES = 24
HINT_CHARACTERS = 4


class ViewQuerySet(models.QuerySet["View"]):
    def by_name(self) -> Self:
        return self.order_by("name", "id")


class ShareQuerySet(models.QuerySet["Share"]):
    def valid(self, *, now: datetime) -> Self:
        """Only links that have not expired, and whose maker may still view readings."""
        watching = User.objects.with_perm(WATCH_PERMISSION, backend=PERMISSIONS).filter(HAS_ROLE)
        made_by = Q(user=None, token=None) | Q(user__in=watching.values("pk"))
        tokens = ApiToken.objects.valid(now=now)
        return self.filter(made_by | Q(token__in=tokens.values("pk")), expires_at__gt=now)

    def by_age(self) -> Self:
        return self.order_by("id")


SharesByQuerySet = models.Manager.from_queryset(ShareQuerySet)


class ShareManager(SharesByQuerySet["Share"]):
    def for_token(self, token: str, *, now: datetime) -> "Share | None":
        """The valid link with this token, with its view and its maker; None if there is none."""
        shares = self.valid(now=now).select_related("view", "user")
        return shares.filter(token_hash=hash_key(token)).first()

    def issue(
        self,
        view: "View",
        *,
        by: str,
        expires_at: datetime,
        now: datetime,
        user: User | None = None,
        token_id: int | None = None,
    ) -> "tuple[Share, str]":
        """Creates a link to the view; returns it and its token."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        share = self.create(
            view=view,
            token_hash=hash_key(token),
            hint=token[:HINT_CHARACTERS],
            user=user,
            token_id=token_id,
            created_by=by,
            created_at=now,
            expires_at=expires_at,
        )
        return share, token


class TicketManager(models.Manager["Ticket"]):
    def issue(
        self,
        *,
        device: Device | None,
        key_hash: str | None = None,
        user: User | None = None,
        token_id: int | None = None,
        now: datetime,
    ) -> tuple[str, datetime]:
        """Creates a ticket; returns its token and its expiry. Also deletes expired tickets.

        `key_hash`, `user` or `token_id` is the issuer, whose rights the ticket passes on; all None: a key from the
        settings.
        """
        self.filter(expires_at__lte=now).delete()
        token = secrets.token_urlsafe(24)
        ticket = self.create(
            token_hash=hash_key(token),
            device=device,
            key_hash=key_hash,
            user=user,
            token_id=token_id,
            expires_at=now + LIFETIME,
        )
        return token, ticket.expires_at

    def redeem(self, token: str, *, now: datetime) -> "Ticket | None":
        """Returns the ticket and deletes it; None if the token is unknown, used or expired."""
        with transaction.atomic():
            ticket = self.select_related("device").filter(token_hash=hash_key(token), expires_at__gt=now).first()
            # If two requests bring the same token at once, only one of them deletes the row.
            if ticket is None or not self.filter(pk=ticket.pk).delete()[0]:
                return None
        return ticket

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Self

from django.contrib.auth.models import User
from django.db import models, transaction

from devices.keys import hash_key
from devices.models import Device

if TYPE_CHECKING:
    from realtime.models import Ticket, View  # noqa: F401  the second is named in a base class

LIFETIME = timedelta(seconds=30)


class ViewQuerySet(models.QuerySet["View"]):
    def by_name(self) -> Self:
        return self.order_by("name", "id")


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

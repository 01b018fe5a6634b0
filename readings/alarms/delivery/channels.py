"""Creates, changes and deletes channels."""

import base64
import secrets
from datetime import datetime
from typing import Any

from django.db import transaction

from devices.changes.log import Author, log_added, log_changed, log_deleted
from devices.times import rfc3339
from readings.alarms.delivery.targets import checked_target
from readings.alarms.outbox_models import Channel, ChannelKind, Delivery, DeliveryState

# Each has a thread of its own while messages wait, so that a slow receiver delays no other channel.
CHANNELS_MAX = 50
SECRET_BYTES = 32


def new_secret() -> str:
    """A key to sign with, in the form of the Standard Webhooks specification."""
    return f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"


def create_channel(*, name: str, kind: str, target: str, now: datetime, by: Author | None = None) -> Channel:
    """Creates a channel; one of the kind `webhook` gets a `secret`, which must be shown now. Raises InvalidTarget.

    `by`: the account under which the list of changes has it, here and below; None: the list does not have it.
    """
    hint = checked_target(kind, target)
    secret = new_secret() if kind == ChannelKind.WEBHOOK else ""
    with transaction.atomic():
        channel = Channel.objects.create(
            name=name, kind=kind, target=target, target_hint=hint, secret=secret, created_at=now
        )
        if by is not None:
            log_added([channel], by=by)
    return channel


def change_channel(
    channel: Channel, *, name: str | None = None, target: str | None = None, new: bool = False, by: Author | None = None
) -> Channel:
    """Changes the name and the target unless None; `new` gives a webhook another secret, which must be shown now.

    Messages that wait are sent to the new target. Raises InvalidTarget, and Channel.DoesNotExist if it was deleted.
    """
    hint = None if target is None else checked_target(channel.kind, target)
    with transaction.atomic():
        channel = Channel.objects.select_for_update().get(pk=channel.pk)
        changed, name_before = [], channel.name
        if name is not None and name != channel.name:
            channel.name = name
            changed.append("name")
        if target is not None and hint is not None and target != channel.target:
            channel.target, channel.target_hint = target, hint
            changed.append("target")
        if new and channel.kind == ChannelKind.WEBHOOK:
            channel.secret = new_secret()
            changed.append("secret")
        channel.save()
        if by is not None:
            # The target may have a secret in it.
            was, became = ({"name": name_before}, {"name": channel.name}) if "name" in changed else ({}, {})
            log_changed([channel], changed, by=by, before=was, after=became)
    return channel


def delete_channel(channel: Channel, *, by: Author | None = None) -> int:
    """Deletes the channel, which rules then no longer have, and drops what waits for it; returns how many messages."""
    with transaction.atomic():
        dropped = Delivery.objects.filter(channel=channel, state=DeliveryState.WAITING).count()
        if by is not None:
            log_deleted([channel], by=by)
        channel.delete()
    return dropped


def channel_document(channel: Channel) -> dict[str, Any]:
    """The channel as the API returns it, without its secret and tokens."""
    return {
        "id": channel.pk,
        "name": channel.name,
        "kind": channel.kind,
        "target": channel.target_hint,
        "created_at": rfc3339(channel.created_at),
    }

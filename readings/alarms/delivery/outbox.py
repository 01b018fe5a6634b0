"""The outbox: which message goes to which channel, when it is tried, and what came of it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from readings.alarms import instruments
from readings.alarms.delivery.senders.answers import Answer, plain
from readings.alarms.delivery.texts import ALARMS_MAX, Content
from readings.alarms.models import Alarm, Delivery, DeliveryState, Message, MessageAlarm, Rule, RuleTag
from readings.alarms.outbox_models import ERROR_LENGTH
from readings.models import Metric

# Seconds from one try to the next; later tries follow each other by the last of them.
DELAYS = (5, 30, 120, 600, 3600)
# How long after the first try a message is given up.
GIVE_UP = timedelta(days=1)
# Messages that may wait for one channel. Beyond that, the oldest is given up.
WAITING_MAX = 1_000
TOO_MANY = f"Given up because more than {WAITING_MAX:,} messages were waiting for this channel."
# Finished messages that are kept to be looked at.
KEPT = 10_000
CHUNK = 500
# A time further in the future than any delay was set by a clock that was wrong.
WRONG_CLOCK = timedelta(hours=2)


def enqueue(message: Message, channel_ids: Collection[int], *, now: datetime) -> None:
    """Makes a delivery to each of the channels. The message must have its alarms."""
    for channel_id in channel_ids:
        blocked_by = blocker(message.pk, channel_id, before=None)
        Delivery.objects.create(message=message, channel_id=channel_id, next_try_at=now, blocked_by=blocked_by)
        waiting = Delivery.objects.filter(channel_id=channel_id, state=DeliveryState.WAITING)
        if (excess := waiting.count() - WAITING_MAX) > 0:
            oldest = list(waiting.order_by("id")[:excess])
            finish(oldest, DeliveryState.GIVEN_UP, now=now, error=TOO_MANY)


def blocker(message_id: UUID, channel_id: int, *, before: int | None) -> int | None:
    """The last waiting delivery to the channel, with an `id` lower than `before`, that is about one of the alarms."""
    alarms = MessageAlarm.objects.filter(message_id=message_id).values("alarm_id")
    messages = MessageAlarm.objects.filter(alarm_id__in=alarms).values("message_id")
    earlier = Delivery.objects.filter(channel_id=channel_id, state=DeliveryState.WAITING, message_id__in=messages)
    earlier = earlier.exclude(message_id=message_id)
    if before is not None:
        earlier = earlier.filter(pk__lt=before)
    return earlier.order_by("-id").values_list("pk", flat=True).first()


def due(*, now: datetime, busy: Collection[int]) -> list[Delivery]:
    """The next delivery of each channel that is not `busy`, with its message, rule and channel loaded."""
    ready = Delivery.objects.filter(state=DeliveryState.WAITING).exclude(channel_id__in=busy)
    ready = ready.filter(Q(next_try_at__lte=now) | Q(next_try_at__gt=now + WRONG_CLOCK))
    waiting = Delivery.objects.filter(pk=OuterRef("blocked_by"), state=DeliveryState.WAITING)
    ready = ready.filter(~Exists(waiting)).select_related("message__rule", "channel").order_by("id")
    found = []
    for channel_id in ready.order_by().values_list("channel_id", flat=True).distinct():
        for delivery in ready.filter(channel_id=channel_id)[:CHUNK]:
            if delivery.blocked_by is not None:
                # What blocked it is finished; something else may block it too.
                delivery.blocked_by = blocker(delivery.message_id, channel_id, before=delivery.pk)
                delivery.save(update_fields=["blocked_by"])
                if delivery.blocked_by is not None:
                    continue
            found.append(delivery)
            break
    return found


def next_due(*, now: datetime) -> datetime | None:
    """The earliest time at which something waits to be tried or released; None if nothing does."""
    tries = Delivery.objects.filter(state=DeliveryState.WAITING, next_try_at__gt=now).order_by("next_try_at")
    releases = Message.objects.filter(released_at=None).order_by("release_at")
    times = [
        tries.values_list("next_try_at", flat=True).first(),
        releases.values_list("release_at", flat=True).first(),
    ]
    return min((moment for moment in times if moment is not None), default=None)


def content_of(message: Message) -> Content | None:
    """What the message says; None if none of its alarms is left. Its rule must be loaded."""
    named = MessageAlarm.objects.filter(message=message).values("alarm_id")
    found = Alarm.objects.filter(pk__in=named).select_related("device")
    alarms = list(found.order_by("opened_at", "device_id")[:ALARMS_MAX])
    if not alarms:
        return None
    assert message.released_at is not None
    rule = message.rule
    tags = RuleTag.objects.filter(rule=rule).order_by("tag__key").values_list("tag__name", flat=True)
    described = Metric.objects.filter(name=rule.metric).catalogue()
    return Content(message.pk, message.type, message.released_at, rule, message.count, alarms, list(tags), described)


def record(delivery_id: int, answer: Answer, *, started: datetime, now: datetime) -> DeliveryState | None:
    """Stores what a try resulted in; returns the new state, None if nobody waits for it any more."""
    with transaction.atomic():
        rows = Delivery.objects.select_for_update().filter(pk=delivery_id, state=DeliveryState.WAITING)
        if (delivery := rows.first()) is None:  # its channel or rule was deleted meanwhile
            return None
        delivery.tries += 1
        delivery.first_try_at = delivery.first_try_at or started
        delivery.away = answer.away
        if answer.delivered:
            finish([delivery], DeliveryState.DELIVERED, now=now, error="")
            # The receiver is back, so that what did not reach it need not wait any longer.
            others = Delivery.objects.filter(channel_id=delivery.channel_id, state=DeliveryState.WAITING, away=True)
            others.filter(next_try_at__gt=now).update(next_try_at=now)
            return DeliveryState.DELIVERED
        delay = DELAYS[min(delivery.tries, len(DELAYS)) - 1]
        delivery.next_try_at = now + timedelta(seconds=delay)
        if delivery.next_try_at > delivery.first_try_at + GIVE_UP:
            finish([delivery], DeliveryState.GIVEN_UP, now=now, error=answer.detail)
            return DeliveryState.GIVEN_UP
        delivery.error = plain(answer.detail, ERROR_LENGTH)
        delivery.save(update_fields=["tries", "first_try_at", "away", "next_try_at", "error"])
    return DeliveryState.WAITING


def finish(deliveries: Sequence[Delivery], state: DeliveryState, *, now: datetime, error: str) -> None:
    """Ends these deliveries, and forgets the alarms of messages that wait for no channel any more."""
    for delivery in deliveries:
        delivery.state, delivery.finished_at, delivery.error = state, now, plain(error, ERROR_LENGTH)
        delivery.save(update_fields=["state", "finished_at", "error", "tries", "first_try_at", "away"])
    if state == DeliveryState.GIVEN_UP:
        instruments.GIVEN_UP.inc(len(deliveries))
    forget_alarms({delivery.message_id for delivery in deliveries})


def forget_alarms(message_ids: Collection[UUID]) -> None:
    waiting = Delivery.objects.filter(message_id__in=message_ids, state=DeliveryState.WAITING)
    finished = set(message_ids) - set(waiting.values_list("message_id", flat=True))
    MessageAlarm.objects.filter(message_id__in=finished).delete()


def drop(rule: Rule, *, now: datetime) -> int:
    """Drops what a rule still had to say, because it was switched off or deleted; returns how many deliveries."""
    Message.objects.filter(rule=rule, released_at=None).delete()
    waiting = Delivery.objects.select_for_update().filter(message__rule=rule, state=DeliveryState.WAITING)
    dropped = list(waiting.order_by("id"))
    finish(dropped, DeliveryState.DROPPED, now=now, error="Dropped because its rule was switched off or deleted.")
    return len(dropped)


def expire() -> int:
    """Deletes all but the latest KEPT finished messages; returns how many."""
    waiting = Delivery.objects.filter(message_id=OuterRef("pk"), state=DeliveryState.WAITING)
    finished = Message.objects.filter(~Exists(waiting), released_at__isnull=False).order_by("-id")
    deleted = 0
    while chosen := list(finished.values_list("pk", flat=True)[KEPT : KEPT + CHUNK]):
        Message.objects.filter(pk__in=chosen).delete()
        deleted += len(chosen)
    return deleted

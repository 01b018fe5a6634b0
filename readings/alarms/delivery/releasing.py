"""Gives messages to the outbox when it is time: gathered ones, repetitions, and what a mute held back."""

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from readings.alarms.delivery.gathering import HOLD, Happened, Notices
from readings.alarms.delivery.muting import lock_alarms, muted_alarms
from readings.alarms.delivery.outbox import enqueue
from readings.alarms.models import (
    Alarm,
    Delivery,
    DeliveryState,
    Message,
    MessageAlarm,
    MessageType,
    Rule,
    RuleChannel,
)
from readings.upkeep.rollups import limit_lock_wait

CHUNK = 1_000
TOLD = ("pk", "told_at", "noticed_at")


def release(*, now: datetime) -> int:
    """Gives the messages whose time has come to the channels of their rules; returns how many."""
    # A time further in the future was set by a clock that was wrong.
    ready = Message.objects.filter(Q(release_at__lte=now) | Q(release_at__gt=now + 2 * HOLD), released_at=None)
    released = 0
    for pk in list(ready.order_by("release_at", "id").values_list("pk", flat=True)[:CHUNK]):
        with transaction.atomic():
            limit_lock_wait()
            message = Message.objects.select_for_update().filter(pk=pk, released_at=None).first()
            if message is None:
                continue
            channel_ids = RuleChannel.objects.filter(rule_id=message.rule_id).order_by("channel_id")
            released += give(message, list(channel_ids.values_list("channel_id", flat=True)), now=now)
    return released


def give(message: Message, channel_ids: list[int], *, now: datetime) -> bool:
    """Releases a message that is locked or new. One without alarms or channels is deleted; then returns False."""
    count = MessageAlarm.objects.filter(message=message).count()
    if not count or not channel_ids:
        message.delete()
        return False
    message.count, message.released_at = count, now
    message.save(update_fields=["count", "released_at"])
    enqueue(message, channel_ids, now=now)
    return True


def repeat(*, now: datetime) -> int:
    """Sends open alarms that nobody has acknowledged again, one message for each rule; returns how many messages.

    A rule that repeats one alarm repeats all whose turn is within half its time, so that they come together. A channel
    for which the repetition before is still waiting gets no other one.
    """
    repeated = 0
    heard = RuleChannel.objects.filter(rule_id=OuterRef("pk"))
    rules = Rule.objects.active().filter(Exists(heard), repeat__isnull=False).exclude(muted_until__gt=now)
    for rule in rules.order_by("id"):
        assert rule.repeat is not None
        with transaction.atomic():
            lock_alarms()
            alarms = Alarm.objects.open().filter(rule=rule, acknowledged_at=None).exclude(muted_alarms(now=now))
            told = [(pk, told_at or noticed_at) for pk, told_at, noticed_at in alarms.values_list(*TOLD)]
            if not any(now - at >= timedelta(seconds=rule.repeat) for _, at in told):
                continue
            chosen = [pk for pk, at in told if now - at >= timedelta(seconds=rule.repeat / 2)]
            Alarm.objects.filter(pk__in=chosen).update(told_at=now, held=False)
            before = Delivery.objects.filter(
                message__rule=rule, message__type=MessageType.REPEATED, state=DeliveryState.WAITING
            )
            channels = RuleChannel.objects.filter(rule=rule).exclude(channel_id__in=before.values("channel_id"))
            channel_ids = list(channels.order_by("channel_id").values_list("channel_id", flat=True))
            if channel_ids:  # otherwise every channel still waits for the repetition before
                message = Message.objects.create(
                    rule=rule, type=MessageType.REPEATED, created_at=now, release_at=now, first=False
                )
                rows = [MessageAlarm(message=message, alarm_id=pk) for pk in chosen]
                MessageAlarm.objects.bulk_create(rows, batch_size=500)
                repeated += give(message, channel_ids, now=now)
    return repeated


def end_mutes(*, now: datetime) -> int:
    """Writes messages that a mute held back and that still matter; returns how many alarms they are about.

    An alarm that is still open and that nobody has acknowledged is told of; of one that was told of before the mute, it
    is told that it was resolved. One that opened and was resolved during the mute is not mentioned.
    """
    told = 0
    held = Alarm.objects.filter(held=True)
    while held.exists():
        with transaction.atomic():
            lock_alarms()
            ended = held.exclude(muted_alarms(now=now)).select_related("rule").order_by("id")
            alarms = list(ended[:CHUNK])
            happened: list[Happened] = []
            for alarm in alarms:
                if alarm.told_at is None:
                    if alarm.is_open and alarm.acknowledged_at is None:
                        happened.append(("opened", alarm))
                elif not alarm.is_open:
                    happened.append(("resolved", alarm))
            notices = Notices(happened, now=now, in_evaluation=False)
            opened = [alarm.pk for event, alarm in happened if event == "opened" and alarm.told_at == now]
            Alarm.objects.filter(pk__in=[alarm.pk for alarm in alarms]).update(held=False)
            Alarm.objects.filter(pk__in=opened).update(told_at=now)
            notices.write()
            told += len(happened)
        if len(alarms) < CHUNK:
            break
    return told

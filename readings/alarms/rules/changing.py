"""Creates, changes and deletes rules, together with what that means for their states and open alarms.

Each change raises the version of the `RuleSet` in its transaction, so that it waits for a step of the evaluation that
is being stored, and the next step sees it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from devices.changes.log import Author, log_added, log_changed, log_deleted, values_of
from devices.models import Tag
from readings.alarms.models import Channel, Reason, Rule, RuleChannel, RuleDevice, RuleTag
from readings.alarms.rules.lifecycle import begin, judge_anew, raise_version, stand_down
from readings.alarms.rules.scopes import devices_of, lock_tags, name_devices, name_tags, tagged_devices, tags_of
from readings.alarms.signals import AlarmChange, announce

# Maximum number of rules. Every one costs each reading of its devices.
RULES_MAX = 500

# What decides about alarms. A change of any other field leaves the states as they are.
DECISIVE = (
    *("metric", "above", "below", "for_seconds", "clear_margin", "clear_for"),
    *("seconds", "tolerance", "change", "per", "is_active", "for_all_devices"),
)


def create_rule(
    fields: Mapping[str, Any],
    device_ids: Sequence[str],
    *,
    tags: Sequence[str] = (),
    channel_ids: Sequence[int] = (),
    now: datetime,
    by: Author | None = None,
) -> Rule:
    """Creates a rule from the fields of its model. It applies to these devices; to all, if there are none.

    `tags`: it applies to the devices that have all of these tags instead. Raises UnknownTags.
    `channel_ids`: the channels that get its messages.

    `by`: the account under which the list of changes has it, here and below; None: the list does not have it.

    It judges readings that are stored from now on. Devices that are silent already are noticed by the next step.
    """
    with transaction.atomic():
        named_tags = lock_tags(tags)
        raise_version()
        for_all = not (device_ids or named_tags)
        rule = Rule.objects.create(**fields, for_all_devices=for_all, judged_since=now, created_at=now)
        name_tags(rule, named_tags)
        name_devices(rule, tagged_devices(named_tags) if named_tags else device_ids)
        name_channels(rule, channel_ids)
        if rule.is_active:
            begin(rule, now=now)
        if by is not None:
            log_added([rule], by=by)
    return rule


def change_rule(
    rule: Rule,
    fields: Mapping[str, Any],
    device_ids: Sequence[str] | None,
    *,
    tags: Sequence[str] | None = None,
    channel_ids: Sequence[int] | None = None,
    now: datetime,
    by: Author | None = None,
) -> Rule:
    """Changes these fields, and the devices, tags and channels unless None.

    With tags it applies to the devices that have all of them, and names no device. Raises Rule.DoesNotExist if it was
    deleted, and UnknownTags.

    A rule that decides differently judges readings from now on; its open alarms stay open and are judged by the rule
    as it is now, except those about another metric or about devices that it no longer applies to.
    """
    changes: list[AlarmChange] = []
    with transaction.atomic():
        wanted_tags = None if tags is None else lock_tags(tags)
        raise_version()
        rule = Rule.objects.existing().get(pk=rule.pk)
        before = {name: getattr(rule, name) for name in DECISIVE}
        named_before, tags_before = devices_of(rule), tags_of(rule)
        changed = [name for name, value in fields.items() if getattr(rule, name) != value]
        values_before = values_of(rule, changed)
        for name, value in fields.items():
            setattr(rule, name, value)
        named_tags = tags_before if wanted_tags is None else wanted_tags
        named = named_before if device_ids is None else sorted(set(device_ids))
        named = [] if named_tags else named
        scope_changed = named != named_before or named_tags != tags_before
        if scope_changed:
            rule.for_all_devices = not (named or named_tags)
            name_tags(rule, named_tags)
            name_devices(rule, tagged_devices(named_tags) if named_tags else named)
        if before != {name: getattr(rule, name) for name in DECISIVE} or scope_changed:
            rule.judged_since = now
            changes = judge_anew(rule, metric_changed=before["metric"] != rule.metric, now=now)
        rule.save()
        if named != named_before:
            changed.append("devices")
        if named_tags != tags_before:
            changed.append("tags")
        values_after = values_of(rule, changed)
        channels_before = channels_of(rule)
        if channel_ids is not None and channels_before != sorted(set(channel_ids)):
            name_channels(rule, channel_ids)
            changed.append("channels")
        if by is not None:
            related_before = {"devices": named_before, "tags": names_of(tags_before), "channels": channels_before}
            related = {"devices": named, "tags": names_of(named_tags), "channels": channel_ids}
            for name in related.keys() & changed:
                values_before[name], values_after[name] = related_before[name], related[name]
            log_changed([rule], changed, by=by, before=values_before, after=values_after)
    announce(changes)
    return rule


def names_of(tags: Sequence[Tag]) -> list[str]:
    return [tag.name for tag in tags]


def delete_rule(rule: Rule, *, now: datetime, by: Author | None = None) -> None:
    """Resolves the open alarms of the rule. Its row stays as long as alarms name it. Deleted before: does nothing."""
    with transaction.atomic():
        raise_version()
        if not Rule.objects.existing().filter(pk=rule.pk).update(deleted_at=now, is_active=False):
            return
        RuleDevice.objects.filter(rule=rule).delete()
        RuleTag.objects.filter(rule=rule).delete()
        changes = stand_down(rule, Reason.RULE_DELETED, now=now)
        if by is not None:
            log_deleted([rule], by=by)
    announce(changes)


def channels_of(rule: Rule) -> list[int]:
    """The ids of the channels that get the messages of the rule, in their order."""
    return list(RuleChannel.objects.filter(rule=rule).order_by("channel_id").values_list("channel_id", flat=True))


def name_channels(rule: Rule, channel_ids: Sequence[int]) -> None:
    """Channels that were deleted meanwhile are left out."""
    RuleChannel.objects.filter(rule=rule).delete()
    chosen = Channel.objects.filter(pk__in=channel_ids)
    RuleChannel.objects.bulk_create([RuleChannel(rule=rule, channel=channel) for channel in chosen])

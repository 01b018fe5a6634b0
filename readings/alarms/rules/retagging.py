"""Makes the rules that name tags follow the tags of devices, in the transaction that changes the tags.

A device that gets the last tag of a rule is judged by it from then on. If it loses a tag, its open alarm of the rule is
resolved and the rule forgets it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import partial

from django.db import transaction

from devices.models import DeviceTag, Tag
from readings.alarms.delivery.gathering import Notices
from readings.alarms.models import Alarm, EvaluationState, Reason, Rule, RuleDevice, RuleSet, RuleTag
from readings.alarms.rules.lifecycle import begin, raise_version, resolve_all
from readings.alarms.signals import AlarmChange, announce

# Devices in one statement.
CHUNK = 500


def rules_naming(tag: Tag) -> list[str]:
    """The rules that need this tag, for people."""
    named = Rule.objects.existing().filter(pk__in=RuleTag.objects.filter(tag=tag).values("rule_id"))
    return [f"the alarm rule {name!r}" for name in named.order_by("name", "id").values_list("name", flat=True)]


def follow_tags(device_ids: Collection[str], now: datetime) -> None:
    """Called after the tags of these devices have changed, and before that is committed."""
    # Waits for a change of the rules, and for a step of the evaluation that is being stored. Afterwards it sees the
    # rules as they are, and a change of the rules that waits for this sees the tags.
    RuleSet.objects.get_or_create(id=1)
    RuleSet.objects.select_for_update().get(id=1)
    tags_of_rules: dict[int, set[int]] = defaultdict(set)
    for rule_id, tag_id in RuleTag.objects.values_list("rule_id", "tag_id"):
        tags_of_rules[rule_id].add(tag_id)
    joined: dict[int, list[str]] = defaultdict(list)
    left: dict[int, list[str]] = defaultdict(list)
    if tags_of_rules:
        for chosen in chunks(sorted(device_ids)):
            compare(tags_of_rules, chosen, joined, left)
    if not joined and not left:
        return
    raise_version()
    changes: list[AlarmChange] = []
    for rule in Rule.objects.filter(pk__in=[*joined, *left]).order_by("id"):
        changes += reassign(rule, joined=joined[rule.pk], left=left[rule.pk], now=now)
    transaction.on_commit(partial(announce, changes))


def chunks(device_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (device_ids[first : first + CHUNK] for first in range(0, len(device_ids), CHUNK))


def compare(
    tags_of_rules: dict[int, set[int]],
    device_ids: Sequence[str],
    joined: dict[int, list[str]],
    left: dict[int, list[str]],
) -> None:
    """Adds the devices that a rule should apply to and does not yet, and those that it no longer applies to."""
    tags_of_devices: dict[str, set[int]] = defaultdict(set)
    for tagged, tag_id in DeviceTag.objects.filter(device_id__in=device_ids).values_list("device_id", "tag_id"):
        tags_of_devices[str(tagged)].add(tag_id)
    known = RuleDevice.objects.filter(rule_id__in=list(tags_of_rules), device_id__in=device_ids)
    applied = {(rule_id, str(device_id)) for rule_id, device_id in known.values_list("rule_id", "device_id")}
    for rule_id, tags in tags_of_rules.items():
        for device_id in device_ids:
            matches = tags <= tags_of_devices[device_id]
            if matches != ((rule_id, device_id) in applied):
                (joined if matches else left)[rule_id].append(device_id)


def reassign(rule: Rule, *, joined: Sequence[str], left: Sequence[str], now: datetime) -> list[AlarmChange]:
    """Makes the rule apply to the devices that joined, and no longer to those that left."""
    RuleDevice.objects.bulk_create(
        [RuleDevice(rule=rule, device_id=device_id, since=now) for device_id in joined], batch_size=1_000
    )
    changes: list[AlarmChange] = []
    for chosen in chunks(left):
        RuleDevice.objects.filter(rule=rule, device_id__in=chosen).delete()
        EvaluationState.objects.filter(rule=rule, device_id__in=chosen).delete()
        ended = list(Alarm.objects.open().filter(rule=rule, device_id__in=chosen).select_related("rule", "device"))
        changes += resolve_all(ended, Reason.RULE_CHANGED, now=now)
        Notices([("resolved", alarm) for alarm in ended], now=now, in_evaluation=False).write()
    if joined and rule.is_active:
        begin(rule, device_ids=joined, now=now)
    return changes

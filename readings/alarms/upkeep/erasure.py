"""What `erase_device` deletes of alarms."""

from django.utils import timezone

from devices.models import Device
from readings.alarms.models import Alarm, EvaluationState, Rule, RuleDevice
from readings.alarms.rules.changing import delete_rule
from readings.alarms.rules.lifecycle import raise_version
from readings.upkeep.erasure import ERASED, name_of


def forget(device: Device, with_device: bool) -> None:
    """Deletes the alarms and states of a device. `with_device` also removes it from the rules.

    A rule that names no other device is deleted, because a rule without devices would apply to all; a rule with tags
    stays. The device's id in names and texts of rules is replaced.
    """
    # Waits for changes of the rules, before anything that they share with the device is locked. The new version matters
    # because rules no longer name the device, also if another one gets its id.
    raise_version()
    Alarm.objects.filter(device=device).delete()
    EvaluationState.objects.filter(device=device).delete()
    if not with_device:
        return
    named = list(Rule.objects.filter(for_all_devices=False, devices=device, tags=None))
    RuleDevice.objects.filter(device=device).delete()
    for rule in named:
        if not RuleDevice.objects.filter(rule=rule).exists():
            delete_rule(rule, now=timezone.now())
    name = name_of(device)
    for rule in Rule.objects.all():
        rule.name, rule.text = name.sub(ERASED, rule.name), name.sub(ERASED, rule.text)
        rule.save(update_fields=["name", "text"])

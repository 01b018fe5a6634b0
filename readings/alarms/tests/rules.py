"""Makes rules, evaluates at chosen times, and collects announced changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction

from devices.models import Device, Tag
from devices.tags.names import key_of
from devices.tags.tagging import add_tag
from readings.alarms.evaluation.evaluator import Evaluation, Evaluator
from readings.alarms.models import Alarm, Kind, Rule
from readings.alarms.parameters import complete
from readings.alarms.rules.changing import create_rule
from readings.alarms.signals import AlarmChange, alarms_changed
from readings.tests.logs import NOON

OTHERS = ("name", "severity", "text", "is_active", "repeat", "muted_until")


def make_rule(kind: str = Kind.THRESHOLD, *, devices: tuple[str, ...] = (), now: datetime = NOON, **given: Any) -> Rule:
    """A rule with these parameters by their names in the API (`for_` for `for`), and other fields of the model.

    `channels`: their ids; `tags`: their names.
    """
    given = {name.rstrip("_"): value for name, value in given.items()}
    channels, tags = given.pop("channels", ()), given.pop("tags", ())
    others = {name: given.pop(name) for name in OTHERS if name in given}
    fields = {"name": "Rule", "kind": kind} | others | complete(kind, given)
    return create_rule(fields, devices, tags=tags, channel_ids=channels, now=now)


def alarm_of(device_id: str, **given: Any) -> Alarm:
    """An alarm of this device: the one there is, or a new open one of a new rule."""
    known = Alarm.objects.filter(device_id=device_id).first()
    if known is not None and not given:
        return known
    rule = given.pop("rule", None) or make_rule(metric="temperature", above=30)
    values = {"metric": "temperature", "value": 31.0, "worst": 31.0, "late": False}
    times = dict.fromkeys(("began_at", "opened_at", "noticed_at"), given.pop("at", NOON))
    return Alarm.objects.create(rule=rule, device_id=device_id, **values | times | given)


def give(device: Device, name: str) -> Tag:
    """Gives the device a new tag; returns the tag."""
    tag = Tag.objects.create(name=name, key=key_of(name))
    with transaction.atomic():
        add_tag([device], tag, now=NOON)
    return tag


def evaluate(now: datetime, evaluator: Evaluator | None = None) -> Evaluation:
    """One evaluation by a new process, or by this evaluator."""
    evaluator = evaluator or Evaluator()
    return evaluator.evaluate(now=now)


@contextmanager
def announced() -> Iterator[list[AlarmChange]]:
    """The changes announced in the block."""
    changes: list[AlarmChange] = []

    def note(*, changes: list[AlarmChange], into: list[AlarmChange] = changes, **_: Any) -> None:
        into += changes

    alarms_changed.connect(note)
    try:
        yield changes
    finally:
        alarms_changed.disconnect(note)

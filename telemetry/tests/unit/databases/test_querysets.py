"""QuerySet methods respect the filters of their QuerySet; others must be methods of the manager only."""

import inspect
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.apps import apps
from django.db import models
from django.utils import timezone

from devices.access.callers import Caller, Role
from devices.models import AccessVersion, Device, DeviceState, DeviceTag, Tag
from devices.querysets import OfTags
from devices.status import Status
from devices.tests.fixtures import client_with, token_client
from readings.alarms.models import Rule
from readings.alarms.tests.rules import alarm_of
from readings.models import Metric, Reading
from readings.tests.logs import NOON, at
from realtime.models import Share, Ticket, View

pytestmark = pytest.mark.django_db

OURS = ("devices", "readings", "realtime", "telemetry")


def own_methods(kind: type) -> set[str]:
    """The methods that a class, or a base class of ours, adds to Django's."""
    bases = [base for base in inspect.getmro(kind) if base.__module__.partition(".")[0] in OURS]
    return {name for base in bases for name, value in vars(base).items() if inspect.isfunction(value)}


def our_models() -> Iterator[type[models.Model]]:
    for model in apps.get_models():
        if model.__module__.partition(".")[0] in OURS:
            yield model


def calls() -> dict[str, Callable[[Any], Any]]:
    """Calls of all our QuerySet methods that would find the one device, or its one reading or refused post."""
    now, device = timezone.now(), Device.objects.get(device_id="mote-1")
    viewer = OfTags(frozenset(Tag.objects.values_list("pk", flat=True)))
    return {
        "DeviceQuerySet.visible_to": lambda devices: devices.visible_to(Caller(role=Role.DEVICE, device=device)),
        "TagQuerySet.visible_to": lambda tags: tags.visible_to(viewer),
        "ReadingQuerySet.visible_to": lambda readings: readings.visible_to(viewer),
        "RejectionQuerySet.visible_to": lambda rejections: rejections.visible_to(viewer),
        "RuleQuerySet.visible_to": lambda rules: rules.visible_to(viewer),
        "AlarmQuerySet.visible_to": lambda alarms: alarms.visible_to(viewer)[:1],
        "MetricQuerySet.visible_to": lambda metrics: metrics.visible_to(viewer),
        "TokenQuerySet.valid": lambda tokens: tokens.valid(now=now),
        "TokenQuerySet.by_name": lambda tokens: tokens.by_name(),
        "DeviceQuerySet.tagged": lambda devices: devices.tagged(["Roof"]),
        "DeviceQuerySet.with_tags": lambda devices: devices.with_tags(),
        "TagQuerySet.named": lambda tags: tags.named(["ROOF", "cellar"]),
        "TagQuerySet.by_name": lambda tags: tags.by_name(),
        "TagQuerySet.with_counts": lambda tags: tags.with_counts().filter(device_count=1),
        "DeviceQuerySet.search": lambda devices: devices.search("mote-1"),
        "DeviceQuerySet.with_status": lambda devices: devices.with_status(now=now),
        "DeviceQuerySet.of_status": lambda devices: devices.with_status(now=now).of_status(Status.ONLINE),
        "DeviceQuerySet.counts_by_status": lambda devices: [n for n in devices.counts_by_status(now=now).values() if n],
        "AccessVersionQuerySet.current": lambda versions: [version] if (version := versions.current()) else [],
        "RejectionQuerySet.of_device": lambda rejections: rejections.of_device(device),
        "RejectionQuerySet.of_nobody": lambda rejections: rejections.of_nobody(),
        "RejectionQuerySet.refusals": lambda rejections: rejections.refusals().filter(caller="nobody"),
        "MetricQuerySet.in_order": lambda metrics: metrics.in_order()[:1],
        "MetricQuerySet.plain": lambda metrics: metrics.plain(),
        "MetricQuerySet.catalogue": lambda metrics: metrics.catalogue().described,
        "ViewQuerySet.by_name": lambda views: views.by_name(),
        "ShareQuerySet.valid": lambda shares: shares.valid(now=now),
        "ShareQuerySet.by_age": lambda shares: shares.by_age(),
        "RuleQuerySet.existing": lambda rules: rules.existing(),
        "RuleQuerySet.active": lambda rules: rules.active(),
        "AlarmQuerySet.open": lambda alarms: alarms.open(),
        "AlarmQuerySet.resolved": lambda alarms: alarms.resolved(),
        "AlarmQuerySet.opened_in": lambda alarms: alarms.opened_in(NOON, at(1)),
        "AlarmQuerySet.newest_first": lambda alarms: alarms.newest_first()[:1],
        "AlarmQuerySet.newest_of_devices": lambda alarms: alarms.newest_of_devices(1),
        "AlarmQuerySet.most_severe_first": lambda alarms: alarms.most_severe_first()[:1],
        "AlarmQuerySet.by_device": lambda alarms: alarms.by_device(),
        "AlarmQuerySet.before": lambda alarms: alarms.before(at(1), UUID(int=0)),
    }


QUERY_SETS = {
    f"{type(model._default_manager.all()).__name__}.{name}": model
    for model in our_models()
    for name in sorted(own_methods(type(model._default_manager.all())))
}


@pytest.fixture
def stored(mote):
    """A device with a reading, a refused post and two alarms of a rule, and a refused post of an unknown sender.

    Also a view with a link, and two metrics of which one is described.
    """
    Rule.objects.all().delete()
    resolved = alarm_of("mote-1", at=at(1), resolved_at=at(2))
    alarm_of("mote-1", rule=resolved.rule)
    roof = Tag.objects.create(name="Roof", key="roof", colour="grey")
    DeviceTag.objects.create(device=mote[0], tag=roof)
    client_with(mote[1]).post("/api/v1/ingest", {"temperature": 21.5})
    client_with(mote[1]).post("/api/v1/ingest", {"temperature": "warm"})
    client_with(None).post("/api/v1/ingest", {"temperature": 1})
    Metric.objects.all().delete()
    Metric.objects.create(name="co2", unit="ppm")
    Metric.objects.create(name="gas")
    now = timezone.now()
    view = View.objects.create(name="Mine", query="device_id=mote-1", created_at=now)
    Share.objects.issue(view, by="", expires_at=now + timedelta(hours=1), now=now)
    token_client("read")
    AccessVersion.objects.get_or_create(defaults={"version": 1})


def test_every_method_is_tried(stored):
    assert calls().keys() == QUERY_SETS.keys()


@pytest.mark.parametrize("method", QUERY_SETS)
def test_a_method_finds_what_the_query_set_has_and_nothing_in_none_or_in_what_was_filtered_out(stored, method):
    call, rows = calls()[method], QUERY_SETS[method]._default_manager.all()
    assert len(call(rows)) == 1
    assert len(call(rows.none())) == 0
    assert len(call(rows.exclude(pk__in=rows.values("pk")))) == 0


def test_what_is_the_managers_no_query_set_and_no_related_manager_has(mote):
    of_managers = {model: own_methods(type(model._default_manager)) for model in our_models()}
    assert {"for_key", "for_key_hashes", "register"} <= of_managers[Device]
    assert {"lock", "advance"} <= of_managers[DeviceState]
    assert {"insert"} <= of_managers[Reading]
    assert {"issue", "redeem"} <= of_managers[Ticket]
    assert {"issue", "for_token"} <= of_managers[Share]
    for model, names in of_managers.items():
        rows = model._default_manager.all()
        assert [name for name in names - own_methods(type(rows)) if hasattr(rows, name)] == []
        if names - own_methods(type(rows)):
            # A related manager is a subclass of the manager's class, and would have its methods.
            relations = [field for field in model._meta.get_fields() if isinstance(field, models.ForeignKey)]
            shown = [
                field
                for field in relations
                if not field.one_to_one and not str(field.remote_field.related_name).endswith("+")
            ]
            assert shown == [], f"{model.__name__} is reached by {shown}"


def test_a_revoked_device_is_not_found_by_its_key_through_a_filter(mote):
    device, key = mote
    with pytest.raises(AttributeError):
        Device.objects.exclude(pk=device.pk).for_key(key, now=timezone.now())  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        DeviceState.objects.none().lock(["mote-1"])  # type: ignore[attr-defined]
    assert Device.objects.for_key(key, now=timezone.now()) == device

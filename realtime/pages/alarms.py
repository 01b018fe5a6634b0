"""The pages of alarms and their rules. Their scripts load and change both over the API."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from django.db.models import Count, Exists, OuterRef
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from devices.access.callers import viewer_of
from devices.metrics import COLUMNS
from devices.models import Device, DeviceState, DeviceTag, Tag
from devices.querysets import Viewer, of_visible_devices
from devices.times import rfc3339
from readings.alarms.api.views import ACKNOWLEDGE, MANAGE_RULES, VIEW_RULES
from readings.alarms.models import Alarm, Channel, DeviceMute, Rule, RuleChannel, TagMute
from readings.alarms.querysets import RuleQuerySet
from readings.models import Metric
from realtime.access.credentials import ALARMS_PERMISSION
from realtime.pages.accounts import for_accounts_with
from realtime.pages.tags import VIEW_TAGS, limit_of

# Devices whose metrics the form of a rule offers: those that were heard from last.
METRICS_OF = 200
# Muted devices, and devices with muted tags, that the page of alarms knows.
MUTED_LISTED = 1_000
# Devices that the form offers before one types.
DEVICES_OFFERED = 20


@for_accounts_with(ALARMS_PERMISSION)
def alarms_page(request: HttpRequest) -> HttpResponse:
    """`/alarms/`: the open alarms, live, and the resolved ones; filters, acknowledging and muting."""
    user: Any = request.user
    viewer = viewer_of(user)
    rules = rules_for(user).order_by("name", "id")
    page = mutes_of(request, rules) | {
        "rules": [{"id": rule.pk, "name": rule.name, "text": rule.text} for rule in rules],
        "tags": tags_offered(viewer) if user.has_perm(VIEW_TAGS) else [],
        "catalogue": Metric.objects.catalogue().documents(),
        "acknowledges": user.has_perm(ACKNOWLEDGE),
        "limit": limit_of(viewer),
        "links": user.has_perm("readings.view_reading"),
    }
    context = {
        "page": page,
        "active": any(rule.is_active for rule in rules),
        "channels": user.has_perm(MANAGE_RULES) and viewer.limit is None and Channel.objects.exists(),
        "sends": RuleChannel.objects.filter(rule__is_active=True).exists(),
    }
    return render(request, "realtime/alarms.html", context)


def tags_offered(viewer: Viewer) -> list[list[str]]:
    """`[[name, colour]]` of the tags of devices that the viewer may see, those with open alarms first. One query."""
    open_alarms = Alarm.objects.open().filter(device_id=OuterRef("device_id"))
    having = DeviceTag.objects.filter(of_visible_devices(viewer), tag=OuterRef("pk"))
    tags = Tag.objects.filter(Exists(having)).annotate(alarmed=Exists(having.filter(Exists(open_alarms))))
    return [list(tag) for tag in tags.order_by("-alarmed", "key").values_list("name", "colour")]


@for_accounts_with(ALARMS_PERMISSION)
def mutes(request: HttpRequest) -> HttpResponse:
    """`/alarms/-/mutes`: `mutes_of`, which the page of alarms asks for again."""
    rules = rules_for(request.user).filter(muted_until__gt=timezone.now())
    return HttpResponse(msgspec.json.encode(mutes_of(request, rules)), content_type="application/json")


def rules_for(user: Any) -> RuleQuerySet:
    """The rules that the account may see."""
    rules = Rule.objects.existing().visible_to(viewer_of(user))
    return rules if user.has_perm(VIEW_RULES) else rules.none()


def mutes_of(request: HttpRequest, rules: Iterable[Rule]) -> dict[str, list[Any]]:
    """What is muted now of what the account may see. `rules`: those that it may see.

    `{"muted_rules": [[id, until]], "muted": [[device id, until]], "muted_tags": [[device id, tag, until]]}`. At most
    MUTED_LISTED devices, and as many with a muted tag.
    """
    user: Any = request.user
    viewer, now = viewer_of(user), timezone.now()
    devices = DeviceMute.objects.filter(of_visible_devices(viewer), until__gt=now).order_by("-until", "device_id")
    return {
        "muted_rules": [
            [rule.pk, rfc3339(rule.muted_until)] for rule in rules if rule.muted_until and rule.muted_until > now
        ],
        "muted": [[mute.device_id, rfc3339(mute.until)] for mute in devices[:MUTED_LISTED]],
        "muted_tags": muted_tags(viewer, now=now) if user.has_perm(VIEW_TAGS) else [],
    }


def muted_tags(viewer: Viewer, *, now: datetime) -> list[list[str]]:
    """`[[device id, name of a muted tag, until]]` of visible devices, at most MUTED_LISTED. Two queries."""
    until = {mute.tag_id: mute for mute in TagMute.objects.filter(until__gt=now).select_related("tag")}
    having = DeviceTag.objects.filter(of_visible_devices(viewer), tag_id__in=list(until)).order_by(
        "device_id", "tag_id"
    )
    muted = (
        (str(device_id), until[tag_id])
        for device_id, tag_id in having.values_list("device_id", "tag_id")[:MUTED_LISTED]
    )
    return [[device_id, mute.tag.name, rfc3339(mute.until)] for device_id, mute in muted]


@for_accounts_with(ALARMS_PERMISSION)
def alarm_counts(request: HttpRequest) -> HttpResponse:
    """`/alarms/-/open`: how many alarms are open, and of each device with open alarms [how many, highest severity].

    `{"open": 3, "devices": {"mote-1": [2, "critical"], …}}`. The pages ask after each change, because frames of the
    live socket name at most 100 alarms. With `?devices=false` without `devices`.
    """
    alarms = Alarm.objects.open().visible_to(viewer_of(request.user))
    if request.GET.get("devices") == "false":
        found: dict[str, Any] = {"open": alarms.count()}
    else:
        devices = alarms.by_device()
        found = {"open": sum(count for count, _ in devices.values()), "devices": devices}
    return HttpResponse(msgspec.json.encode(found), content_type="application/json")


@for_accounts_with(VIEW_RULES)
def rules_page(request: HttpRequest) -> HttpResponse:
    """`/alarms/rules/`: all rules with a switch for each; for those who may, with links to change and delete them."""
    user: Any = request.user
    viewer = viewer_of(user)
    open_alarms = Alarm.objects.open().visible_to(viewer).order_by().values_list("rule_id").annotate(Count("id"))
    page = {
        "open": dict(open_alarms) if user.has_perm(ALARMS_PERMISSION) else {},
        "catalogue": Metric.objects.catalogue().documents(),
        # Rules concern all devices.
        "manages": user.has_perm(MANAGE_RULES) and viewer.limit is None,
        "mutes": user.has_perm(ACKNOWLEDGE) and viewer.limit is None,
    }
    return render(request, "realtime/rules.html", {"page": page})


@for_accounts_with(MANAGE_RULES, fleet_wide=True)
def rule_page(request: HttpRequest, rule_id: int | None = None) -> HttpResponse:
    """`/alarms/rules/new` and `/alarms/rules/<rule_id>/`: a rule as a sentence, and what it would have done."""
    rule = None if rule_id is None else get_object_or_404(Rule.objects.existing(), pk=rule_id)
    states = DeviceState.objects.filter(last_seq__gt=0).order_by("-last_seen_at", "device_id")
    metrics = {metric for state in states[:METRICS_OF] for metric in state.latest_metrics()}
    devices = Device.objects.filter(state__last_seq__gt=0).order_by("device_id").values_list("device_id", "name")
    catalogue = Metric.objects.catalogue()
    page = {
        "id": rule_id,
        "metrics": catalogue.in_order(metrics | {*COLUMNS}),
        "devices": [list(device) for device in devices[:DEVICES_OFFERED]],
        "tags": list(Tag.objects.by_name().values_list("name", flat=True)),
        "channels": [{"id": channel.pk, "name": channel.name} for channel in Channel.objects.order_by("id")],
        "catalogue": catalogue.documents(),
    }
    return render(request, "realtime/rule.html", {"page": page, "rule": rule})

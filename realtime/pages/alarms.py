"""The pages of alarms and their rules. Their scripts load and change both over the API."""

from typing import Any

import msgspec
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from devices.metrics import COLUMNS, UNITS
from devices.models import Device, DeviceState
from readings.alarms.api.views import ACKNOWLEDGE, MANAGE_RULES, VIEW_RULES
from readings.alarms.documents import rule_document
from readings.alarms.models import Alarm, Rule, RuleDevice
from readings.alarms.rules import devices_of
from realtime.access.credentials import ALARMS_PERMISSION
from realtime.pages.accounts import for_accounts_with

# Devices whose metrics the form of a rule offers: those that were heard from last.
METRICS_OF = 200
# Devices that the form offers before one types.
DEVICES_OFFERED = 20


@for_accounts_with(ALARMS_PERMISSION)
def alarms_page(request: HttpRequest) -> HttpResponse:
    """`/alarms/`: the open alarms, live, and the resolved ones; filters, and acknowledging."""
    user: Any = request.user
    rules = Rule.objects.existing().order_by("name", "id") if user.has_perm(VIEW_RULES) else Rule.objects.none()
    page = {
        "rules": [{"id": rule.pk, "name": rule.name, "text": rule.text} for rule in rules],
        "units": UNITS,
        "acknowledges": user.has_perm(ACKNOWLEDGE),
        "links": user.has_perm("readings.view_reading"),
    }
    return render(request, "realtime/alarms.html", {"page": page, "active": any(rule.is_active for rule in rules)})


@for_accounts_with(ALARMS_PERMISSION)
def alarm_counts(request: HttpRequest) -> HttpResponse:
    """`/alarms/-/open`: how many alarms are open, and of each device with open alarms [how many, highest severity].

    `{"open": 3, "devices": {"mote-1": [2, "critical"], …}}`. The pages ask after each change, because frames of the
    live socket name at most 100 alarms. With `?devices=false` without `devices`.
    """
    if request.GET.get("devices") == "false":
        found: dict[str, Any] = {"open": Alarm.objects.open().count()}
    else:
        devices = Alarm.objects.open().by_device()
        found = {"open": sum(count for count, _ in devices.values()), "devices": devices}
    return HttpResponse(msgspec.json.encode(found), content_type="application/json")


@for_accounts_with(VIEW_RULES)
def rules_page(request: HttpRequest) -> HttpResponse:
    """`/alarms/rules/`: all rules with a switch for each; for those who may, with links to change and delete them."""
    user: Any = request.user
    named: dict[int, list[str]] = {}
    for rule_id, device_id in RuleDevice.objects.order_by("device_id").values_list("rule_id", "device_id"):
        named.setdefault(rule_id, []).append(str(device_id))
    open_alarms = Alarm.objects.open().order_by().values_list("rule_id").annotate(Count("id"))
    page = {
        "rules": [rule_document(rule, named.get(rule.pk, [])) for rule in Rule.objects.existing().order_by("id")],
        "open": dict(open_alarms) if user.has_perm(ALARMS_PERMISSION) else {},
        "units": UNITS,
        "manages": user.has_perm(MANAGE_RULES),
    }
    return render(request, "realtime/rules.html", {"page": page})


@for_accounts_with(MANAGE_RULES)
def rule_page(request: HttpRequest, rule_id: int | None = None) -> HttpResponse:
    """`/alarms/rules/new` and `/alarms/rules/<rule_id>/`: a rule as a sentence, and what it would have done."""
    rule = None
    if rule_id is not None:
        found = get_object_or_404(Rule.objects.existing(), pk=rule_id)
        rule = rule_document(found, devices_of(found))
    states = DeviceState.objects.filter(last_seq__gt=0).order_by("-last_seen_at", "device_id")
    metrics = {metric for state in states[:METRICS_OF] for metric in state.latest_metrics()}
    devices = Device.objects.filter(state__last_seq__gt=0).order_by("device_id").values_list("device_id", "name")
    page = {
        "rule": rule,
        "metrics": sorted(metrics | {*COLUMNS}, key=lambda metric: (metric not in COLUMNS, metric)),
        "devices": [list(device) for device in devices[:DEVICES_OFFERED]],
        "units": UNITS,
    }
    return render(request, "realtime/rule.html", {"page": page, "rule": rule})

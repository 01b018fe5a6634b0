"""The page that compares devices: any devices, any metrics, any period."""

from collections.abc import Iterable
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from devices.access.callers import viewer_of
from devices.models import Device, Tag
from devices.querysets import DeviceQuerySet
from devices.tags.names import TAGS_IN_FILTER_MAX, is_tag_name, key_of
from devices.validators import is_device_id
from readings.history.parameters import DEVICES_MAX
from readings.models import Metric
from realtime.pages.device import RANGES, for_watchers
from realtime.pages.tags import VIEW_TAGS
from realtime.saved_views import ADD_VIEWS, DELETE_VIEWS, view_document, visible_views

# Devices, and tags, that a search finds.
FOUND_MAX = 12
SEARCH_CHARACTERS = 255
SEARCH_WORDS = 8


@for_watchers
def explore_page(request: HttpRequest) -> HttpResponse:
    """`/explore/?device_id=a&tag=b&metrics=x,y&range=24h`: one chart for each unit. The address holds everything.

    It has the names of the devices in the address, the catalogue of metrics and the saved views; the page loads the
    statistics and searches devices by itself.
    """
    user: Any = request.user
    facts = {
        "devices": [*named(request), *tagged(request)],
        "metrics": Metric.objects.catalogue().documents(),
        "views": [view_document(view) for view in visible_views(viewer_of(user))],
        "may_save": user.has_perm(ADD_VIEWS),
        "may_delete": user.has_perm(DELETE_VIEWS),
        "shares": {
            "list": user.has_perm("realtime.view_share"),
            "add": user.has_perm("realtime.add_share"),
            "end": user.has_perm("realtime.delete_share"),
        },
    }
    ranges = [(name, label) for name, label in RANGES if name != "all"]
    return render(request, "realtime/explore.html", {"facts": facts, "ranges": ranges})


@for_watchers
def explore_devices(request: HttpRequest) -> HttpResponse:
    """`/explore/-/devices?search=…`: the first devices and tags that match every word; `?device_id=…`: these devices.

    `{"devices": [[device id, name]], "tags": [[name, number of devices]], "more": bool}`. `more`: others match too.
    """
    devices, tags, more = named(request), [], False
    if "search" in request.GET:
        words = request.GET["search"][:SEARCH_CHARACTERS].replace("\0", "").split()[:SEARCH_WORDS]
        matching = visible(request)
        for word in words:
            matching = matching.search(word)
        found = pairs(matching.order_by("device_id")[: FOUND_MAX + 1])
        devices, more = found[:FOUND_MAX], len(found) > FOUND_MAX
        tags = tags_with(request, words)
    body = msgspec.json.encode({"devices": devices, "tags": tags, "more": more})
    answer = HttpResponse(body, content_type="application/json")
    answer["Cache-Control"] = "private, no-store"
    return answer


def visible(request: HttpRequest) -> DeviceQuerySet:
    """The devices that the account may see."""
    return Device.objects.all().visible_to(viewer_of(request.user))


def pairs(devices: Iterable[Device]) -> list[list[str]]:
    return [[device.device_id, device.name] for device in devices]


def named(request: HttpRequest) -> list[list[str]]:
    ids = [one for one in request.GET.getlist("device_id")[:DEVICES_MAX] if is_device_id(one)]
    return pairs(visible(request).filter(device_id__in=ids).order_by("device_id")) if ids else []


def tagged(request: HttpRequest) -> list[list[str]]:
    """The devices with all of the address's tags, as far as one answer has them."""
    tags = [one for one in request.GET.getlist("tag")[:TAGS_IN_FILTER_MAX] if is_tag_name(one)]
    return pairs(visible(request).tagged(tags).order_by("device_id")[:DEVICES_MAX]) if tags else []


def tags_with(request: HttpRequest, words: Iterable[str]) -> list[list[Any]]:
    user: Any = request.user
    if not user.has_perm(VIEW_TAGS):
        return []
    viewer = viewer_of(user)
    matching = Tag.objects.visible_to(viewer).with_counts(viewer)
    for word in words:
        matching = matching.filter(key__contains=key_of(word.lstrip("#")))
    tags: list[Any] = list(matching.by_name()[:FOUND_MAX])
    return [[tag.name, tag.device_count] for tag in tags]

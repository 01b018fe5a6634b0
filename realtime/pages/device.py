"""The pages of one device. The permission to watch is enough to open them."""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from devices.access.callers import Caller, viewer_of
from devices.models import Device
from readings.alarms.api.views import ACKNOWLEDGE, VIEW_RULES
from readings.alarms.delivery.muting import muted_until
from readings.alarms.documents import time_or_none
from readings.alarms.evaluation.active_rules import load_rules
from readings.alarms.models import TagMute
from readings.log import reader
from readings.log.entries import reading_document
from readings.models import Metric, Rejection
from readings.statistics.beginning import earliest
from realtime.access.credentials import ALARMS_PERMISSION, WATCH_PERMISSION
from realtime.pages.accounts import for_accounts_with
from realtime.pages.addresses import connection_code
from realtime.pages.tags import VIEW_TAGS, limit_of
from realtime.protocol.frames import moment

RANGES = [("1h", "1 h"), ("24h", "24 h"), ("7d", "7 d"), ("30d", "30 d"), ("1y", "1 y"), ("all", "All")]
# Separate from watching, because refused posts show client addresses and the beginnings of keys.
REFUSED_PERMISSION = "readings.view_rejection"
REFUSED_SHOWN = 10
RECENT_SHOWN = 12
STRANGERS_SHOWN = 5

for_watchers = for_accounts_with(WATCH_PERMISSION)


@for_watchers
def device_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """`/live/<device_id>/`: charts of any period, live, alarms, recent readings, refused posts, connection help."""
    now = timezone.now()
    devices = Device.objects.visible_to(viewer_of(request.user)).select_related("state").with_status(now=now)
    device: Any = get_object_or_404(devices, device_id=device_id)  # with the annotation `status`
    facts = {
        "device_id": device.device_id,
        "log": str(device.pk),
        "last_seq": device.state.last_seq,
        "last_seen_at": device.state.last_seen_at,
        "status": device.status,
        "latest": device.state.values_document(),
        "recent": recent_of(device) if device.state.last_seq else [],
        "began_at": earliest(device.state),
        "report_interval": device.report_interval,
        "interval": device.report_interval or settings.DEFAULT_REPORT_INTERVAL,
        "metrics": Metric.objects.catalogue().documents(),
    }
    user: Any = request.user
    if user.has_perm(ALARMS_PERMISSION):
        facts["alarms"] = alarms_of(device, rules=user.has_perm(VIEW_RULES)) | {
            "acknowledges": user.has_perm(ACKNOWLEDGE),
            "limit": limit_of(viewer_of(user)),
            "muted_until": time_or_none(muted_until(device, now=now)),
            "muted_tags": muted_tags(device, now=now) if user.has_perm(VIEW_TAGS) else {},
        }
    context = {
        "device": device,
        "facts": facts,
        "ranges": RANGES,
        "snippets": connection_code(request, key=None, device_id=device.device_id),
        "tags": device.tags.order_by("key") if request.user.has_perm(VIEW_TAGS) else (),
        "map_url": map_url(device),
    }
    if request.user.has_perm(REFUSED_PERMISSION):
        context |= refused_of(device, viewer_of(request.user))
    return render(request, "realtime/device.html", context)


def map_url(device: Device) -> str | None:
    """The address of a map with a marker where the device is; None if its coordinates are not known."""
    if device.latitude is None or device.longitude is None:
        return None
    latitude, longitude = f"{device.latitude:.6f}", f"{device.longitude:.6f}"
    return f"https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=17/{latitude}/{longitude}"


def alarms_of(device: Device, *, rules: bool) -> dict[str, Any]:
    """The rules that apply to the device, as far as its charts and alarms show them; none unless `rules`."""
    active = [found.rule for found in load_rules().of_device(device.device_id)] if rules else []
    names = ("id", "kind", "severity", "metric", "above", "below", "text")
    return {"rules": [{name: getattr(rule, name) for name in names} for rule in active]}


def muted_tags(device: Device, *, now: datetime) -> dict[str, str | None]:
    """Until when the tags of the device are muted, by name; None: not now. Two queries."""
    tags = list(device.tags.order_by("key"))
    muted = TagMute.objects.filter(tag__in=tags, until__gt=now).values_list("tag_id", "until")
    until = dict(muted)
    return {tag.name: time_or_none(until.get(tag.pk)) for tag in tags}


def recent_of(device: Device) -> list[dict[str, Any]]:
    """The readings that are newest by their own time, as in live frames."""
    newest = reader.page(reader.Window(device.device_id), limit=RECENT_SHOWN, descending=True)
    return [reading_document(reading) | {"timestamp": moment(reading.timestamp)} for reading in newest]


@for_accounts_with(REFUSED_PERMISSION)
def refused_posts(request: HttpRequest, device_id: str) -> HttpResponse:
    """`/live/<device_id>/refused/`: the HTML part that lists refused posts, which the page reloads."""
    viewer = viewer_of(request.user)
    device = get_object_or_404(Device.objects.visible_to(viewer).select_related("state"), device_id=device_id)
    return render(request, "realtime/refused.html", refused_of(device, viewer))


def refused_of(device: Device, viewer: Caller) -> dict[str, Any]:
    """The template context with the device's newest refused posts, and the values that doors skipped.

    As long as the device has no reading and no refused post, also those of unknown senders: one may be this device. A
    viewer that is limited to tags does not see them: they may be of any device.
    """
    newest = list(Rejection.objects.of_device(device))
    refused = [rejection for rejection in newest if not rejection.is_skipped][:REFUSED_SHOWN]
    skipped = [rejection for rejection in newest if rejection.is_skipped][:REFUSED_SHOWN]
    strangers: list[Rejection] = []
    if not device.state.last_seq and not refused and viewer.limit is None:
        strangers = list(Rejection.objects.of_nobody()[:STRANGERS_SHOWN])
    return {"refused": refused, "skipped": skipped, "strangers": strangers}

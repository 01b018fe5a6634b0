"""The pages of one device. The permission to watch is enough to open them."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.decorators import permission_required, user_passes_test
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.access.roles import has_role
from devices.models import Device
from readings.log.entries import reading_document
from readings.models import Metric, Reading, Rejection
from readings.statistics.aggregation import earliest
from realtime.access.credentials import WATCH_PERMISSION
from realtime.pages.addresses import connection_code
from realtime.protocol.frames import moment

RANGES = [("1h", "1 h"), ("24h", "24 h"), ("7d", "7 d"), ("30d", "30 d"), ("1y", "1 y"), ("all", "All")]
# Separate from watching, because refused posts show client addresses and the beginnings of keys.
REFUSED_PERMISSION = "readings.view_rejection"
REFUSED_SHOWN = 10
RECENT_SHOWN = 12
STRANGERS_SHOWN = 5

View = Callable[..., HttpResponse]


def for_accounts_with(permission: str) -> Callable[[View], View]:
    """Decorates a read-only page for accounts with the permission.

    Others are sent to the sign-in page if they have no role, else they get a 403.
    """

    def wrap(view: View) -> View:
        permitted = permission_required(permission, raise_exception=True)(view)
        return require_safe(user_passes_test(has_role)(permitted))

    return wrap


for_watchers = for_accounts_with(WATCH_PERMISSION)


@for_watchers
def device_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """`/live/<device_id>/`: charts of any period, updated live, recent readings, refused posts and connection help."""
    devices = Device.objects.select_related("state").with_status(now=timezone.now())
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
    context = {
        "device": device,
        "facts": facts,
        "ranges": RANGES,
        "snippets": connection_code(request, key=None),
    }
    if request.user.has_perm(REFUSED_PERMISSION):
        context |= refused_of(device)
    return render(request, "realtime/device.html", context)


def recent_of(device: Device) -> list[dict[str, Any]]:
    """The readings that are newest by their own time, as in live frames."""
    newest = Reading.objects.filter(device=device).by_time(descending=True)[:RECENT_SHOWN]
    return [reading_document(reading) | {"timestamp": moment(reading.timestamp)} for reading in newest]


@for_accounts_with(REFUSED_PERMISSION)
def refused_posts(request: HttpRequest, device_id: str) -> HttpResponse:
    """`/live/<device_id>/refused/`: the HTML part that lists refused posts, which the page reloads."""
    device = get_object_or_404(Device.objects.select_related("state"), device_id=device_id)
    return render(request, "realtime/refused.html", refused_of(device))


def refused_of(device: Device) -> dict[str, Any]:
    """The template context with the device's newest refused posts.

    As long as the device has no reading and no refused post, also those of unknown senders: one may be this device.
    """
    refused = list(Rejection.objects.of_device(device)[:REFUSED_SHOWN])
    strangers: list[Rejection] = []
    if not device.state.last_seq and not refused:
        strangers = list(Rejection.objects.of_nobody()[:STRANGERS_SHOWN])
    return {"refused": refused, "strangers": strangers}

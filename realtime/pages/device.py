"""The pages of one device. Who may watch may see them."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from devices.metrics import UNITS
from devices.models import Device
from readings.models import Rejection
from readings.statistics.aggregation import earliest
from realtime.access.credentials import WATCH_PERMISSION
from realtime.pages.markdown import device_address, snippets

RANGES = [("1h", "1 h"), ("24h", "24 h"), ("7d", "7 d"), ("30d", "30 d"), ("1y", "1 y"), ("all", "All")]
# Refused posts have addresses, and the beginnings of keys.
REFUSED_PERMISSION = "readings.view_rejection"
REFUSED_SHOWN = 10
STRANGERS_SHOWN = 5

View = Callable[..., HttpResponse]


def for_staff_with(permission: str) -> Callable[[View], View]:
    """A page to look at, for staff that have the permission; anyone else has to sign in as such."""

    def wrap(view: View) -> View:
        permitted = permission_required(permission, raise_exception=True)(view)
        return require_safe(staff_member_required(permitted))

    return wrap


for_watchers = for_staff_with(WATCH_PERMISSION)


@for_watchers
def device_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """`/live/<device_id>/`: charts over any period, live; recent readings; what was refused; how to connect it."""
    devices = Device.objects.select_related("state").with_status(now=timezone.now())
    device = get_object_or_404(devices, device_id=device_id)
    facts = {
        "device_id": device.device_id,
        "log": str(device.pk),
        "last_seq": device.state.last_seq,
        "last_seen_at": device.state.last_seen_at,
        "began_at": earliest(device.state),
        "report_interval": device.report_interval,
        "interval": device.report_interval or settings.DEFAULT_REPORT_INTERVAL,
        "units": UNITS,
    }
    context = {
        "device": device,
        "facts": facts,
        "ranges": RANGES,
        "snippets": snippets(address=device_address(request), key=None),
    }
    if request.user.has_perm(REFUSED_PERMISSION):
        context |= refused_of(device)
    return render(request, "realtime/device.html", context)


@for_staff_with(REFUSED_PERMISSION)
def refused_posts(request: HttpRequest, device_id: str) -> HttpResponse:
    """The part of the page that lists refused posts, for the page to keep fresh."""
    device = get_object_or_404(Device.objects.select_related("state"), device_id=device_id)
    return render(request, "realtime/refused.html", refused_of(device))


def refused_of(device: Device) -> dict[str, Any]:
    """The device's refused posts; those of nobody too, while nothing of the device has come: it may be one of them."""
    refused = list(Rejection.objects.of_device(device)[:REFUSED_SHOWN])
    strangers: list[Rejection] = []
    if not device.state.last_seq and not refused:
        strangers = list(Rejection.objects.of_nobody()[:STRANGERS_SHOWN])
    return {"refused": refused, "strangers": strangers}

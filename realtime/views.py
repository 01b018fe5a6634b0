from django.contrib.admin.views.decorators import staff_member_required
from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from devices.models import Device
from readings.metrics import UNITS
from realtime.credentials import WATCH_PERMISSION


@require_safe
@staff_member_required
@permission_required(WATCH_PERMISSION, raise_exception=True)
def fleet_page(request: HttpRequest) -> HttpResponse:
    """`/live/`."""
    return render(request, "realtime/base.html")


@require_safe
@staff_member_required
@permission_required(WATCH_PERMISSION, raise_exception=True)
def device_page(request: HttpRequest, device_id: str) -> HttpResponse:
    """`/live/<device_id>/`: latest values and a moving chart, fed by the socket."""
    device = get_object_or_404(Device.objects.select_related("state"), device_id=device_id)
    return render(request, "realtime/device.html", {"device": device, "units": UNITS})

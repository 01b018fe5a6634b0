"""The page of the whole fleet: one answer lists all devices, and sparklines are loaded for the visible rows."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.shortcuts import render
from django.utils import timezone

from devices.access.callers import viewer_of
from devices.metrics import is_metric_name
from devices.models import Device, DeviceState
from devices.querysets import Viewer, sees_every_device
from devices.validators import is_device_id
from readings.alarms.models import Alarm
from readings.models import Metric
from readings.statistics.hourly_averages import hourly_averages
from realtime.access.credentials import ALARMS_PERMISSION
from realtime.pages.device import for_watchers
from realtime.pages.tags import limit_of, tags_of_fleet
from realtime.protocol.frames import moment

SPARKLINE_HOURS = 24
SPARKLINES_MAX = 200


@for_watchers
def fleet_page(request: HttpRequest) -> HttpResponse:
    """`/live/`: every device with status, open alarms, latest values and a sparkline of 24 h; live.

    With `?tag=` it is the page of this tag, or of the devices that have all of these tags.
    """
    user: Any = request.user
    viewer = viewer_of(user)
    fleet = {
        "devices": fleet_rows(viewer, now=timezone.now()),
        "metrics": Metric.objects.catalogue().documents(),
        # As in `realtime.pages.alarms.alarm_counts`; None: the account may not see alarms.
        "alarms": Alarm.objects.open().visible_to(viewer).by_device() if user.has_perm(ALARMS_PERMISSION) else None,
        "limit": limit_of(viewer),
    } | tags_of_fleet(request)
    return render(request, "realtime/fleet.html", {"fleet": fleet, "empty": not fleet["devices"]})


def fleet_rows(viewer: Viewer, *, now: datetime) -> list[list[Any]]:
    """One row for each device that the viewer may see, ordered by device id.

    A row is [device id, name, active, status, last seen, values of the newest reading, its time, its seq, the latest
    values of other metrics]; the last one is left out if there are none. Times are texts as in live frames, with which
    the page compares them; None if there is none. Rows are arrays, not objects,
    because the page carries a thousand of them. One query.
    """
    devices: Any = Device.objects.visible_to(viewer).select_related("state").with_status(now=now).order_by("device_id")
    return [
        [
            device.device_id,
            device.name,
            device.is_active,
            device.status,
            moment(device.state.last_seen_at),
            device.state.latest_metrics(),
            moment(device.state.latest_at),
            device.state.latest_seq,
            *others(device.state),
        ]
        for device in devices
    ]


def others(state: DeviceState) -> list[dict[str, float]]:
    """The latest values of the metrics that the newest reading does not have, by which the list may be sorted."""
    values = {name: latest.value for name, latest in state.latest_values().items() if latest.seq != state.latest_seq}
    return [values] if values else []


@for_watchers
def sparklines(request: HttpRequest) -> HttpResponse:
    """`/live/-/sparklines?metric=…&devices=a,b,c`: hourly averages of the last 24 hours, at most 200 devices.

    `{"start": seconds since the epoch, "values": {device_id: [25 averages, the last of the current hour]}}`; an average
    is null for an hour without readings. A device without any is left out. 400 for an invalid metric or device id.
    """
    metric, device_ids = request.GET.get("metric", ""), request.GET.get("devices", "").split(",")
    if not is_metric_name(metric) or len(device_ids) > SPARKLINES_MAX or not all(map(is_device_id, device_ids)):
        return HttpResponseBadRequest("Name a metric and 1 to 200 devices.")
    viewer = viewer_of(request.user)
    if not sees_every_device(viewer):
        device_ids = list(
            Device.objects.visible_to(viewer).filter(device_id__in=device_ids).values_list("device_id", flat=True)
        )
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)
    start = hour - timedelta(hours=SPARKLINE_HOURS)
    found = hourly_averages(device_ids, metric=metric, start=start, hours=SPARKLINE_HOURS + 1)
    body = msgspec.json.encode({"start": start.timestamp(), "values": found})
    return HttpResponse(body, content_type="application/json")

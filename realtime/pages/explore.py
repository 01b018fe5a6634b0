"""The page that compares devices: any devices, any metrics, any period."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from devices.access.callers import viewer_of
from devices.models import Device
from readings.models import Metric
from realtime.pages.device import RANGES, for_watchers
from realtime.saved_views import ADD_VIEWS, DELETE_VIEWS, view_document, visible_views


@for_watchers
def explore_page(request: HttpRequest) -> HttpResponse:
    """`/explore/?device_id=a&device_id=b&metrics=x,y&range=24h`: one chart for each unit. The address holds everything.

    It has the list of devices, the catalogue of metrics and the saved views; the page loads the statistics by itself.
    """
    viewer = viewer_of(request.user)
    facts = {
        "devices": list(Device.objects.visible_to(viewer).order_by("device_id").values_list("device_id", "name")),
        "metrics": Metric.objects.catalogue().documents(),
        "views": [view_document(view) for view in visible_views(viewer)],
        "may_save": request.user.has_perm(ADD_VIEWS),
        "may_delete": request.user.has_perm(DELETE_VIEWS),
    }
    ranges = [(name, label) for name, label in RANGES if name != "all"]
    return render(request, "realtime/explore.html", {"facts": facts, "ranges": ranges})

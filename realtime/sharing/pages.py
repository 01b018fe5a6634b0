"""The page of a link, and the statistics that it loads. The token in the address is the only credential."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from devices.api.json import encoded_with
from devices.times import rfc3339
from readings.history.answers import json_response
from readings.history.fleet_views import device_document, encoded_devices
from readings.history.views import asked_of
from readings.models import Metric
from readings.statistics.aggregation import LARGE_ANSWER_VALUES, Answer
from readings.statistics.buckets import POINTS_DEFAULT
from realtime.models import Share
from realtime.sharing.content import devices_of, metrics_of, shown_by

POINTS_MAX = 1_000
# A search engine must not list it, a cache not keep it, and a page that it links to must not learn its address.
HEADERS = {
    "Cache-Control": "private, no-store",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Referrer-Policy": "no-referrer",
}


def unlisted(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Decorates a view of a link: sets HEADERS on every answer."""

    def wrapped(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
        response = view(request, **kwargs)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    return wrapped


@unlisted
@require_safe
def share_page(request: HttpRequest, token: str) -> HttpResponse:
    """`/share/<token>/`: the charts of one view, live. It is a 404 when the link has expired or was deleted."""
    now = timezone.now()
    share = Share.objects.for_token(token, now=now)
    if share is None:
        return render(request, "realtime/share_ended.html", status=404)
    shown = shown_by(share.view.query, now=now)
    context = {
        "share": share,
        "facts": {
            "token": token,
            "period": None if shown.fixed else shown.length.total_seconds(),
            "expires_at": rfc3339(share.expires_at),
        },
        "dark": request.GET.get("theme") == "dark",
    }
    return render(request, "realtime/share.html", context)


@extend_schema(exclude=True)
@api_view(["GET"])
@authentication_classes([])
@permission_classes([])
def statistics(request: Request, token: str) -> HttpResponseBase:
    """`/share/<token>/statistics?points=500`: the view's buckets, as `GET /api/v1/aggregate` answers.

    Beside that `names` (of devices) and `metrics` (their descriptions, as pages take them). The view alone decides
    what is in it; other parameters do not count. Raises NotFound when the link has ended.
    """
    now = timezone.now()
    share = Share.objects.for_token(token, now=now)
    if share is None:
        raise NotFound("The link has expired, or it was withdrawn.")
    shown = shown_by(share.view.query, now=now)
    devices = devices_of(share, shown, now=now)
    metrics = metrics_of(shown, devices)
    start, end = shown.window(now=now)
    described = Metric.objects.catalogue().documents()
    head: dict[str, Any] = {
        "names": {device.device_id: device.name for device in devices},
        "metrics": {name: described.get(name, ["", "", None, 1000, None, None]) for name in metrics},
    }
    if not metrics:
        return Response(head | {"start": rfc3339(start), "end": rfc3339(end), "bucket": "1h", "devices": []})
    asked, _ = asked_of(
        devices,
        request,
        {
            "start": rfc3339(start),
            "end": rfc3339(end),
            "metrics": ",".join(metrics),
            "bucket": "auto",
            "points": min(points_of(request), points_at_most(len(metrics) * len(devices))),
            "format": "json",
        },
    )

    def document(answers: dict[str, Answer], large: bool) -> HttpResponseBase:
        whole = head | asked.window() | asked.bucket()
        if large:
            return json_response(encoded_with(whole, "devices", encoded_devices(asked, answers)))
        return Response(whole | {"devices": [device_document(asked, *answer) for answer in answers.items()]})

    return asked.answered(document)


def points_at_most(series: int) -> int:
    """How many points keep the answer from being a large one, so that no reader of a link takes the turn of those.

    Two fewer, because the first and the last bucket reach beyond the window.
    """
    return max(1, LARGE_ANSWER_VALUES // max(1, series) - 2)


def points_of(request: Request) -> int:
    given = request.query_params.get("points", "")
    return (
        min(max(int(given), 1), POINTS_MAX)
        if given.isascii() and given.isdigit() and len(given) < 6
        else POINTS_DEFAULT
    )


share_statistics = unlisted(statistics)

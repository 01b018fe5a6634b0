"""The tags of devices on the pages. They need the permission to view tags, beside the one of the page."""

import hashlib
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified

from devices.access.callers import viewer_of
from devices.models import DeviceTag, Tag
from devices.querysets import Viewer, of_visible_devices
from realtime.pages.accounts import for_accounts_with

VIEW_TAGS = "devices.view_tag"


def tags_of_fleet(request: HttpRequest) -> dict[str, Any]:
    """`{"tags": [[name, colour]], "tags_of": {device id: [positions in `tags`]}}`, in the order of the names.

    Tags without devices and devices without tags are left out. Two queries.
    """
    user: Any = request.user
    if not user.has_perm(VIEW_TAGS):
        return {"tags": [], "tags_of": {}}
    given: dict[int, list[str]] = {}
    having = DeviceTag.objects.filter(of_visible_devices(viewer_of(user))).order_by("device_id")
    for tag_id, device_id in having.values_list("tag_id", "device_id"):
        given.setdefault(tag_id, []).append(str(device_id))
    tags = [tag for tag in Tag.objects.by_name() if tag.pk in given]
    tags_of: dict[str, list[int]] = {}
    for place, tag in enumerate(tags):
        for tagged in given[tag.pk]:
            tags_of.setdefault(tagged, []).append(place)
    return {"tags": [[tag.name, tag.colour] for tag in tags], "tags_of": tags_of}


def limit_of(viewer: Viewer) -> list[str] | None:
    """The names of the tags that the viewer is limited to, which alone it may mute, beside devices; None: no limit."""
    if viewer.limit is None:
        return None
    return list(Tag.objects.filter(pk__in=viewer.limit).by_name().values_list("name", flat=True))


@for_accounts_with(VIEW_TAGS)
def tags(request: HttpRequest) -> HttpResponse:
    """`/live/-/tags`: `tags_of_fleet` as JSON, which open pages ask for again. 304 if it is as the page has it."""
    body = msgspec.json.encode(tags_of_fleet(request))
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    same = request.headers.get("If-None-Match") == etag
    answer: HttpResponse = HttpResponseNotModified() if same else HttpResponse(body, content_type="application/json")
    answer["ETag"], answer["Cache-Control"] = etag, "private, no-store"
    return answer

"""The endpoints of views: what the page `/explore/` shows, saved under a name."""

from typing import Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, urlencode

from django.db import IntegrityError, transaction
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import CallerPermission, Limited
from devices.api.openapi import DATE_TIME, JSON, STRING, array, record
from devices.api.serializers import StrictCharField, StrictSerializer
from devices.changes.log import author, log_added, log_deleted
from devices.database.turns import Turn, one_at_a_time
from devices.metrics import is_metric_name
from devices.models import Device, Tag
from devices.querysets import Viewer, sees_every_device
from devices.tags.names import INVALID, TAGS_IN_FILTER_MAX, distinct, is_tag_name
from devices.times import rfc3339
from devices.validators import is_device_id
from readings.catalogue.serializers import SINGLE_LINE
from readings.history.parameters import DEVICES_MAX
from readings.models import validate_single_line
from realtime.models import QUERY_LENGTH, VIEW_NAME_LENGTH, Share, View

VIEW_VIEWS, ADD_VIEWS, DELETE_VIEWS = "realtime.view_view", "realtime.add_view", "realtime.delete_view"
# The list is one page, and part of the page `/explore/`.
VIEWS_MAX = 500
# So that one token or account cannot use up the room of all others.
VIEWS_OF_AUTHOR_MAX = 100
PARAMETERS = ("device_id", "tag", "metrics", "range", "start", "end")

VIEW = record(
    {
        "id": {"type": "integer", "minimum": 1},
        "name": STRING,
        "query": STRING | {"description": "The query string of `/explore/`."},
        "created_by": STRING,
        "created_at": DATE_TIME,
    }
)
VIEW_ID = OpenApiParameter("view_id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)


class NameTaken(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "name_taken"
    default_detail = "A view with this name already exists. Choose another name, or delete that view."


def view_document(view: View) -> dict[str, Any]:
    created_at = rfc3339(view.created_at)
    return {
        "id": view.pk,
        "name": view.name,
        "query": view.query,
        "created_by": view.created_by,
        "created_at": created_at,
    }


class Named(NamedTuple):
    """What the query string of a view names: ids of devices, and keys and names of tags."""

    devices: set[str]
    tags: dict[str, str]


def named_by(query: str) -> Named:
    found = parse_qs(query)
    return Named(set(found.get("device_id", ())), distinct(found.get("tag", ())))


def visible_views(viewer: Viewer) -> list[View]:
    """The views by name; of a limited viewer those that name only devices and tags that it may see."""
    return seen_by(viewer, list(View.objects.by_name()))


def sees_view(viewer: Viewer, view: View) -> bool:
    return bool(seen_by(viewer, [view]))


def may_change_view(viewer: Viewer, view: View) -> bool:
    """Whether the viewer, who sees the view, sees every device that it shows. Of other tags it may see only some."""
    if viewer.limit is None:
        return True
    own = set(Tag.objects.filter(pk__in=viewer.limit).values_list("key", flat=True))
    return named_by(view.query).tags.keys() <= own


def seen_by(viewer: Viewer, views: list[View]) -> list[View]:
    if sees_every_device(viewer):
        return views
    devices = set(Device.objects.visible_to(viewer).values_list("device_id", flat=True))
    tags = set(Tag.objects.visible_to(viewer).values_list("key", flat=True))
    named = {view.pk: named_by(view.query) for view in views}
    return [view for view in views if named[view.pk].devices <= devices and named[view.pk].tags.keys() <= tags]


def check_visible(viewer: Viewer, query: str) -> None:
    """Raises ValidationError if a limited viewer names a device or a tag that it may not see."""
    if sees_every_device(viewer):
        return
    named = named_by(query)
    seen = Device.objects.visible_to(viewer).filter(device_id__in=named.devices)
    if unknown := sorted(named.devices.difference(seen.values_list("device_id", flat=True))):
        raise ValidationError({"query": ErrorDetail(f"There is no device {unknown[0]}.", code="unknown_device")})
    tags = set(Tag.objects.visible_to(viewer).filter(key__in=list(named.tags)).values_list("key", flat=True))
    if missing := [name for key, name in named.tags.items() if key not in tags]:
        raise ValidationError({"query": ErrorDetail(f"There is no tag {missing[0]!r}.", code="unknown_tag")})


@extend_schema_field({"type": "string", "minLength": 1, "maxLength": VIEW_NAME_LENGTH, "pattern": SINGLE_LINE})
class ViewNameField(StrictCharField):
    """One line."""


class QueryField(StrictCharField):
    """The query string of `/explore/`, such as `device_id=a&device_id=b&metrics=temperature&range=24h`."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        try:
            pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=200)
        except ValueError as error:
            raise serializers.ValidationError("This is not a query string.", code="invalid_query") from error
        for name, value in pairs:
            if name not in PARAMETERS:
                detail = f"There is no parameter {name[:80]!r}; there are {', '.join(PARAMETERS)}."
                raise serializers.ValidationError(detail, code="unknown_parameter")
            if name == "device_id" and not is_device_id(value):
                raise serializers.ValidationError(f"{value[:80]!r} is not a device id.", code="invalid_device_id")
            if name == "tag" and not is_tag_name(value):
                raise serializers.ValidationError(f"{value[:80]!r} is not a tag. {INVALID}", code="invalid_tag")
            if name == "metrics" and not all(map(is_metric_name, value.split(","))):
                raise serializers.ValidationError(f"{value[:80]!r} are not metrics.", code="invalid_name")
        devices, tags = (len({value for name, value in pairs if name == kind}) for kind in ("device_id", "tag"))
        if not devices and not tags:
            raise serializers.ValidationError("The view has no device and no tag.", code="no_devices")
        if devices > DEVICES_MAX:
            detail = f"The view has {devices} devices; the maximum is {DEVICES_MAX}."
            raise serializers.ValidationError(detail, code="too_many_devices")
        if tags > TAGS_IN_FILTER_MAX:
            detail = f"The view has {tags} tags; the maximum is {TAGS_IN_FILTER_MAX}."
            raise serializers.ValidationError(detail, code="too_many_tags")
        return urlencode(pairs)


class NewViewSerializer(StrictSerializer):
    name = ViewNameField(max_length=VIEW_NAME_LENGTH, validators=[validate_single_line])
    query = QueryField(max_length=QUERY_LENGTH, trim_whitespace=False)


class ViewViewSet(GenericViewSet[View]):
    permission_classes = [CallerPermission]
    queryset = View.objects.all()
    lookup_field = "pk"
    lookup_url_kwarg = "view_id"
    admin_permissions = {"views": VIEW_VIEWS, "create": ADD_VIEWS, "destroy": DELETE_VIEWS}
    open_to: dict[str, tuple[Role, ...]] = {}

    @extend_schema(
        operation_id="view_list",
        summary="List saved views",
        responses={(200, JSON): record({"results": array(VIEW), "next": {"type": "null"}})},
    )
    def views(self, request: Request) -> Response:
        """All views by name. There are at most 500, so that they are one page."""
        views = visible_views(caller_of(request))
        return Response({"results": [view_document(view) for view in views], "next": None})

    @extend_schema(
        operation_id="view_create",
        summary="Save a view",
        request=NewViewSerializer,
        responses={(201, JSON): VIEW},
    )
    def create(self, request: Request) -> Response:
        """Saves what `/explore/` shows with this query string."""
        given = NewViewSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        caller = caller_of(request)
        check_visible(caller, given.validated_data["query"])
        by = author(caller)
        try:
            with transaction.atomic():
                one_at_a_time(Turn.VIEWS)  # otherwise concurrent requests could pass the maximum together
                if View.objects.count() >= VIEWS_MAX:
                    detail = f"There may be {VIEWS_MAX} views."
                    raise ValidationError({"": ErrorDetail(detail, code="too_many_views")})
                if View.objects.filter(created_by=by.name).count() >= VIEWS_OF_AUTHOR_MAX:
                    detail = f"One account or token may have {VIEWS_OF_AUTHOR_MAX} views. Delete one first."
                    raise ValidationError({"": ErrorDetail(detail, code="too_many_views")})
                view = View.objects.create(**given.validated_data, created_by=by.name, created_at=timezone.now())
                log_added([view], by=by)
        except IntegrityError as error:
            if View.objects.filter(name=given.validated_data["name"]).exists():
                raise NameTaken from error
            raise
        return Response(view_document(view), status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="view_delete", summary="Delete a view", parameters=[VIEW_ID], responses={204: None})
    def destroy(self, request: Request, view_id: int) -> Response:
        """Deletes the view and ends its share links; the address of `/explore/` with its query keeps working."""
        with transaction.atomic():
            view = self.locked(view_id)
            if not sees_view(caller_of(request), view):
                raise NotFound
            if not may_change_view(caller_of(request), view):
                raise Limited
            log_deleted([*Share.objects.filter(view=view).by_age(), view], by=author(caller_of(request)))
            view.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

    def locked(self, view_id: int) -> View:
        """The view, locked until the transaction ends, so that two requests do not delete it. Raises NotFound."""
        try:
            return View.objects.select_for_update().get(pk=view_id)
        except View.DoesNotExist as error:
            raise NotFound from error

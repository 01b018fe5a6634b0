"""The endpoints of views: what the page `/explore/` shows, saved under a name."""

from typing import Any
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
from devices.access.permissions import CallerPermission
from devices.api.openapi import DATE_TIME, JSON, STRING, array, record
from devices.api.serializers import StrictCharField, StrictSerializer
from devices.changes import author, log_added, log_deleted
from devices.metrics import is_metric_name
from devices.models import Device
from devices.querysets import Viewer, sees_every_device
from devices.times import rfc3339
from devices.validators import is_device_id
from readings.catalogue.serializers import SINGLE_LINE
from readings.models import validate_single_line
from realtime.models import QUERY_LENGTH, VIEW_NAME_LENGTH, View

VIEW_VIEWS, ADD_VIEWS, DELETE_VIEWS = "realtime.view_view", "realtime.add_view", "realtime.delete_view"
# The list is one page, and part of the page `/explore/`.
VIEWS_MAX = 500
PARAMETERS = ("device_id", "metrics", "range", "start", "end")

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


def visible_views(viewer: Viewer) -> list[View]:
    """The views by name; of a limited viewer those that name only devices that it may see."""
    views = list(View.objects.by_name())
    if sees_every_device(viewer):
        return views
    named = {view.pk: set(parse_qs(view.query).get("device_id", ())) for view in views}
    visible = set(Device.objects.visible_to(viewer).values_list("device_id", flat=True))
    return [view for view in views if named[view.pk] <= visible]


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
            if name == "metrics" and not all(map(is_metric_name, value.split(","))):
                raise serializers.ValidationError(f"{value[:80]!r} are not metrics.", code="invalid_name")
        if not any(name == "device_id" for name, _ in pairs):
            raise serializers.ValidationError("The view has no device.", code="no_devices")
        return urlencode(pairs)


class NewViewSerializer(StrictSerializer):
    name = ViewNameField(max_length=VIEW_NAME_LENGTH, validators=[validate_single_line])
    query = QueryField(max_length=QUERY_LENGTH)


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
        if not sees_every_device(caller):
            named = set(parse_qs(given.validated_data["query"])["device_id"])
            visible = Device.objects.visible_to(caller).filter(device_id__in=named)
            if unknown := sorted(named.difference(visible.values_list("device_id", flat=True))):
                raise ValidationError(
                    {"query": ErrorDetail(f"There is no device {unknown[0]}.", code="unknown_device")}
                )
        if View.objects.count() >= VIEWS_MAX:
            detail = f"There may be {VIEWS_MAX} views."
            raise ValidationError({"": ErrorDetail(detail, code="too_many_views")})
        by = author(caller)
        try:
            with transaction.atomic():
                view = View.objects.create(**given.validated_data, created_by=by.name, created_at=timezone.now())
                log_added([view], by=by)
        except IntegrityError as error:
            if View.objects.filter(name=given.validated_data["name"]).exists():
                raise NameTaken from error
            raise
        return Response(view_document(view), status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="view_delete", summary="Delete a view", parameters=[VIEW_ID], responses={204: None})
    def destroy(self, request: Request, view_id: int) -> Response:
        """Deletes the view; links with its query keep working."""
        view = self.get_object()
        if view not in visible_views(caller_of(request)):
            raise NotFound
        with transaction.atomic():
            log_deleted([view], by=author(caller_of(request)))
            view.delete()
        return Response(status=status.HTTP_204_NO_CONTENT)

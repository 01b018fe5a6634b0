import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.exceptions import APIException, ErrorDetail, NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import VIEW_READINGS, CallerPermission
from devices.api.serializers import (
    DeviceChangesSerializer,
    DeviceFiltersSerializer,
    DeviceSerializer,
    DeviceWithKeySerializer,
    NewDeviceSerializer,
    RotationSerializer,
)
from devices.api.tag_errors import ADD_TAGS, tag_errors
from devices.changes.log import DEACTIVATED, ROTATED, Author, author, log_added, log_changed, values_of
from devices.database import nodes
from devices.models import Device, RotationUnderWay, Tag
from devices.querysets import DeviceIdTaken, DeviceQuerySet
from devices.tags.tagging import check_limit, set_tags, tags_named, tags_of
from devices.validators import DEVICE_ID_PATTERN

UNDER_WAY = (
    "An earlier key of this device works until {until:%Y-%m-%dT%H:%M:%S.%fZ}, because of the last rotation. "
    'To end that key now and rotate again, send "force": true. To end every earlier key, send "overlap_seconds": 0.'
)


class Conflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "device_id_taken"
    default_detail = "A device with this id already exists."


class DevicePages(CursorPagination):
    """Pages in the order of the device ids, so that every page costs the same."""

    ordering = "device_id"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000

    def decode_cursor(self, request: Request) -> Any:
        wrong = ValidationError({"cursor": ErrorDetail("This cursor is not valid.", code="invalid_cursor")})
        try:
            cursor = super().decode_cursor(request)
        except NotFound as error:
            raise wrong from error
        if cursor and not re.fullmatch(DEVICE_ID_PATTERN, str(cursor.position)):
            raise wrong
        return cursor

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {"results": schema, "next": {"type": ["string", "null"], "format": "uri"}},
        }


class DeviceScope(GenericViewSet[Device]):
    """Base of all viewsets for devices: permissions, and a queryset limited to the devices that the caller may see."""

    permission_classes = [CallerPermission]
    lookup_field = "device_id"
    queryset = Device.objects.all()

    def get_queryset(self) -> DeviceQuerySet:
        devices = super().get_queryset()
        assert isinstance(devices, DeviceQuerySet)
        return devices.visible_to(caller_of(self.request))

    def get_object(self) -> Device:
        """The device of the URL. Raises Http404, and NodeAway if its readings and state are on a node that is away."""
        nodes.watch.require([self.kwargs["device_id"]])
        return super().get_object()


class DeviceViewSet(DeviceScope):
    """Devices: register, look up, change and deactivate them, and rotate their keys."""

    serializer_class: type[BaseSerializer[Device]] = DeviceSerializer
    pagination_class = DevicePages
    admin_permissions = {
        "list": "devices.view_device",
        "create": "devices.add_device",
        "retrieve": "devices.view_device",
        "partial_update": "devices.change_device",
        "destroy": "devices.delete_device",
        "rotate_key": "devices.change_device",
    }
    open_to = {"retrieve": (Role.DEVICE,)}

    def get_queryset(self) -> DeviceQuerySet:
        return super().get_queryset().select_related("state").with_status(now=timezone.now())

    def get_serializer_context(self) -> dict[str, Any]:
        caller = caller_of(self.request)
        may_view = caller.device is not None or caller.may(VIEW_READINGS)
        return {
            **super().get_serializer_context(),
            "may_view_readings": may_view,
            "is_device": caller.device is not None,
        }

    def filtered(self, devices: DeviceQuerySet) -> DeviceQuerySet:
        """Filters the devices by the query parameters. Raises ValidationError."""
        filters = DeviceFiltersSerializer(data=self.request.query_params)
        filters.is_valid(raise_exception=True)
        chosen = filters.validated_data
        if "search" in chosen:
            devices = devices.search(chosen["search"])
        if "status" in chosen:
            devices = devices.of_status(chosen["status"])
        if "is_active" in chosen:
            devices = devices.filter(is_active=chosen["is_active"] == "true")
        return devices.tagged(chosen.get("tag", ()))

    @extend_schema(operation_id="device_list", summary="List devices", parameters=[DeviceFiltersSerializer])
    def list(self, request: Request) -> Response:
        """Returns pages in the order of the device ids. `next` is the URL of the next page, or null."""
        page = self.paginate_queryset(self.filtered(self.get_queryset()).with_tags())
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="device_register",
        summary="Register a device",
        request=NewDeviceSerializer,
        responses={201: DeviceWithKeySerializer},
    )
    def create(self, request: Request) -> Response:
        """Returns the device with its `api_key`, which is shown only once. Tags that do not exist yet are made.

        A token or account that is limited to tags must give the device one of them.
        """
        values = NewDeviceSerializer(data=request.data)
        values.is_valid(raise_exception=True)
        fields = dict(values.validated_data)
        names = fields.pop("tags", [])
        by = author(caller_of(request))
        try:
            # Includes the look-up for the answer, because a key that cannot be shown must not be stored.
            with transaction.atomic():
                if caller_of(request).limit is not None:  # before it learns whether another device has the id
                    self.check_new(names, by=by)
                device, key = Device.objects.register(**fields)
                log_added([device], by=by)
                if names:
                    self.set_tags(device, names, by=by)
                return self.with_key(device, key, status_code=status.HTTP_201_CREATED)
        except DeviceIdTaken as error:
            raise Conflict from error

    @extend_schema(operation_id="device", summary="Look up a device")
    def retrieve(self, request: Request, device_id: str) -> Response:
        """A device can look up only itself."""
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(operation_id="device_change", summary="Change a device", request=DeviceChangesSerializer)
    def partial_update(self, request: Request, device_id: str) -> Response:
        """Fields that are not sent stay unchanged. `tags` are all tags that the device shall have."""
        changes = DeviceChangesSerializer(self.get_object(), data=request.data, partial=True)
        changes.is_valid(raise_exception=True)
        with transaction.atomic():
            changes.instance = device = self.locked(device_id)
            changes.save()
            changed, before = [*changes.changed], dict(changes.before)
            after = values_of(device, changed)
            by = author(caller_of(request))
            names = changes.validated_data.get("tags")
            tags_before = [] if names is None else [tag.name for tag in tags_of(device)]
            if names is not None and self.set_tags(device, names, by=by):
                changed.append("tags")
                before["tags"], after["tags"] = tags_before, [tag.name for tag in tags_of(device)]
            log_changed([device], changed, by=by, before=before, after=after)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(operation_id="device_deactivate", summary="Deactivate a device", responses={204: None})
    def destroy(self, request: Request, device_id: str) -> Response:
        """Deactivates the device: its keys are refused, and its log stays."""
        self.get_object()
        with transaction.atomic():
            device = self.locked(device_id)
            if device.is_active:
                device.is_active = False
                device.save(update_fields=["is_active"])
                by = author(caller_of(request))
                log_changed([device], DEACTIVATED, by=by, before={"is_active": True}, after={"is_active": False})
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="device_rotate_key",
        summary="Give a device a new key",
        request=RotationSerializer,
        responses={200: DeviceWithKeySerializer},
    )
    @action(detail=True, methods=["post"], url_path="rotate-key")
    def rotate_key(self, request: Request, device_id: str) -> Response:
        """Gives the device a new key. The old key works until the overlap ends.

        At most two keys work at a time, so a second rotation within that overlap is refused (409,
        `rotation_under_way`) unless `force` is true. With `overlap_seconds` 0 it is never refused.
        """
        device = self.get_object()
        values = RotationSerializer(data=request.data)
        values.is_valid(raise_exception=True)
        overlap = timedelta(seconds=values.validated_data["overlap_seconds"])
        force = values.validated_data["force"]
        try:
            with transaction.atomic():
                key = device.rotate_key(overlap=overlap, now=timezone.now(), force=force)
                log_changed([device], ROTATED, by=author(caller_of(request)))
                return self.with_key(device, key)
        except RotationUnderWay as error:
            raise Conflict(UNDER_WAY.format(until=error.until), code="rotation_under_way") from error
        except Device.DoesNotExist as error:  # erased after the look-up
            raise NotFound from error

    def check_new(self, names: Sequence[str], *, by: Author) -> None:
        """Raises ValidationError or PermissionDenied if the caller may not give a new device these tags."""
        with tag_errors():
            check_limit(caller_of(self.request), [], self.tags_named(names, by=by))

    def set_tags(self, device: Device, names: Sequence[str], *, by: Author) -> bool:
        """Gives the device these tags; returns whether that changes them. Raises ValidationError."""
        with tag_errors():
            tags = self.tags_named(names, by=by)
            return set_tags(device, tags, now=timezone.now(), viewer=caller_of(self.request))

    def tags_named(self, names: Sequence[str], *, by: Author) -> Sequence[Tag]:
        caller = caller_of(self.request)
        # A tag that a limited caller would make is none of those that limit it.
        return tags_named(names, may_create=caller.may(ADD_TAGS) and caller.limit is None, by=by, viewer=caller)

    def locked(self, device_id: str) -> Device:
        """The device as it is now, locked until the transaction ends, so that what changes is known."""
        try:
            return Device.objects.select_for_update(no_key=True).get(device_id=device_id)
        except Device.DoesNotExist as error:  # erased after the look-up
            raise NotFound from error

    def with_key(self, device: Device, key: str, status_code: int = status.HTTP_200_OK) -> Response:
        shown = self.get_queryset().get(pk=device.pk)
        shown.api_key = key  # type: ignore[attr-defined]
        return Response(DeviceWithKeySerializer(shown).data, status=status_code)

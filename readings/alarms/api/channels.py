"""The endpoints of channels, and of mutes of devices and tags."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import ErrorDetail, NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Role
from devices.access.permissions import CallerPermission
from devices.api.views import DeviceScope
from devices.changes.log import author
from devices.models import Device, Tag
from readings.alarms.api import openapi
from readings.alarms.api.serializers import ChannelChangesSerializer, ChannelSerializer, MuteSerializer
from readings.alarms.api.views import ACKNOWLEDGE, MANAGE_RULES, VIEW_ALARMS
from readings.alarms.delivery.channels import (
    CHANNELS_MAX,
    change_channel,
    channel_document,
    create_channel,
    delete_channel,
)
from readings.alarms.delivery.muting import mute_device, mute_tag, muted_until, tag_muted_until
from readings.alarms.delivery.sending import send, trial_post
from readings.alarms.delivery.targets import InvalidTarget
from readings.alarms.documents import time_or_none
from readings.alarms.models import Channel


@contextmanager
def naming_the_target() -> Iterator[None]:
    """Turns InvalidTarget into an error of the field `target`."""
    try:
        yield
    except InvalidTarget as error:
        raise ValidationError({"target": ErrorDetail(str(error), code=error.code)}) from error


def tested(channel: Channel) -> dict[str, Any]:
    """Sends a test message; what came of it, as the API returns it. Holds no connection to the database meanwhile."""
    now = timezone.now()
    if not connection.in_atomic_block:
        connection.close()
    answer = send(channel, trial_post(channel, now=now), now=now)
    return {"delivered": answer.delivered, "detail": answer.detail, "answer": answer.body or None}


class ChannelViewSet(GenericViewSet[Channel]):
    permission_classes = [CallerPermission]
    queryset = Channel.objects.all()
    lookup_field = "pk"
    lookup_url_kwarg = "channel_id"
    admin_permissions = dict.fromkeys(("channels", "create", "partial_update", "destroy", "test"), MANAGE_RULES)
    open_to: dict[str, tuple[Role, ...]] = {}
    fleet_wide = ("channels", "create", "partial_update", "destroy", "test")

    @openapi.channel_list
    def channels(self, request: Request) -> Response:
        """All channels in the order of their ids. There are at most 50, so that they are one page."""
        channels = self.get_queryset().order_by("id")
        return Response({"results": [channel_document(channel) for channel in channels], "next": None})

    @openapi.channel_create
    def create(self, request: Request) -> Response:
        """The answer has the secret of a webhook; it is not shown again."""
        given = ChannelSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        if self.get_queryset().count() >= CHANNELS_MAX:
            detail = f"There may be {CHANNELS_MAX} channels."
            raise ValidationError({"": ErrorDetail(detail, code="too_many_channels")})
        with naming_the_target():
            channel = create_channel(**given.validated_data, now=timezone.now(), by=author(caller_of(request)))
        return Response(channel_document(channel) | {"secret": channel.secret or None}, status=status.HTTP_201_CREATED)

    @openapi.channel_change
    def partial_update(self, request: Request, channel_id: int) -> Response:
        """Fields that are not sent stay unchanged. The answer has `secret` only if it is a new one."""
        channel = self.get_object()
        given = ChannelChangesSerializer(channel, data=request.data, partial=True)
        given.is_valid(raise_exception=True)
        values = given.validated_data
        new = values.get("new_secret", False)
        try:
            with naming_the_target():
                channel = change_channel(
                    channel,
                    name=values.get("name"),
                    target=values.get("target"),
                    new=new,
                    by=author(caller_of(request)),
                )
        except Channel.DoesNotExist as error:  # deleted after the look-up
            raise NotFound from error
        return Response(channel_document(channel) | {"secret": channel.secret if new else None})

    @openapi.channel_delete
    def destroy(self, request: Request, channel_id: int) -> Response:
        """Rules no longer have the channel. Says how many messages were still to be sent to it."""
        return Response({"dropped": delete_channel(self.get_object(), by=author(caller_of(request)))})

    @openapi.channel_test
    def test(self, request: Request, channel_id: int) -> Response:
        """Sends a test message now, which takes up to 20 s, and shows the receiver's answer."""
        return Response(tested(self.get_object()))


class DeviceMuteViewSet(DeviceScope):
    admin_permissions = {"retrieve": VIEW_ALARMS, "mute": ACKNOWLEDGE, "unmute": ACKNOWLEDGE}
    open_to: dict[str, tuple[Role, ...]] = {}

    @openapi.device_mute
    def retrieve(self, request: Request, device_id: str) -> Response:
        return Response({"muted_until": time_or_none(muted_until(self.get_object(), now=timezone.now()))})

    @openapi.device_mute_set
    def mute(self, request: Request, device_id: str) -> Response:
        """Until then, alarms about the device are recorded and nothing is sent. Replaces an earlier mute."""
        given = MuteSerializer(data=request.data, context={"now": timezone.now()})
        given.is_valid(raise_exception=True)
        until = given.validated_data["until"]
        self.mute_until(request, until)
        return Response({"muted_until": time_or_none(until)})

    @openapi.device_mute_end
    def unmute(self, request: Request, device_id: str) -> Response:
        """Sends what the mute held back, if it still matters."""
        self.mute_until(request, None)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def mute_until(self, request: Request, until: datetime | None) -> None:
        try:
            mute_device(self.get_object(), until, by=author(caller_of(request)))
        except Device.DoesNotExist as error:  # deleted after the look-up
            raise NotFound from error


class TagMuteViewSet(GenericViewSet[Tag]):
    permission_classes = [CallerPermission]
    queryset = Tag.objects.all()
    admin_permissions = {"retrieve": VIEW_ALARMS, "mute": ACKNOWLEDGE, "unmute": ACKNOWLEDGE}
    open_to: dict[str, tuple[Role, ...]] = {}

    @openapi.tag_mute
    def retrieve(self, request: Request, name: str) -> Response:
        return Response({"muted_until": time_or_none(tag_muted_until(self.found(name), now=timezone.now()))})

    @openapi.tag_mute_set
    def mute(self, request: Request, name: str) -> Response:
        """Until then, alarms about devices with the tag are recorded and nothing is sent. Replaces an earlier mute."""
        tag = self.found(name)
        given = MuteSerializer(data=request.data, context={"now": timezone.now()})
        given.is_valid(raise_exception=True)
        until = given.validated_data["until"]
        self.mute_until(request, tag, until)
        return Response({"muted_until": time_or_none(until)})

    @openapi.tag_mute_end
    def unmute(self, request: Request, name: str) -> Response:
        """Sends what the mute held back, if it still matters."""
        self.mute_until(request, self.found(name), None)
        return Response(status=status.HTTP_204_NO_CONTENT)

    def mute_until(self, request: Request, tag: Tag, until: datetime | None) -> None:
        """A caller that is limited to tags may mute those alone: another tag also mutes devices outside the limit."""
        limit = caller_of(request).limit
        if limit is not None and tag.pk not in limit:
            raise PermissionDenied(
                f"You are limited to some tags, and the tag {tag.name!r} is none of them.", code="outside_limit"
            )
        try:
            mute_tag(tag, until, by=author(caller_of(request)))
        except Tag.DoesNotExist as error:  # deleted after the look-up
            raise NotFound from error

    def found(self, name: str) -> Tag:
        try:
            return Tag.objects.visible_to(caller_of(self.request)).named([name]).get()
        except Tag.DoesNotExist as error:
            raise NotFound from error

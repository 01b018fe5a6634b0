from typing import Any

from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response

from devices.access.authentication import caller_of, key_in
from devices.access.callers import Role
from devices.api.serializers import StrictCharField, StrictSerializer
from devices.api.views import DeviceScope
from devices.keys import hash_key
from devices.times import rfc3339
from devices.validators import validate_device_id
from realtime.access.credentials import WATCH_PERMISSION
from realtime.models import Ticket


class TicketRequestSerializer(StrictSerializer):
    device_id = StrictCharField(
        required=False,
        allow_null=True,
        max_length=64,
        trim_whitespace=False,
        validators=[validate_device_id],
        help_text="The device to watch. If absent: the whole fleet, or with a device's key that device.",
    )


class TicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField()
    expires_at = serializers.DateTimeField()


class TicketViewSet(DeviceScope):
    """Creates tickets, each for one socket, for browsers on another origin whose own server asks for them."""

    admin_permissions = {"create": WATCH_PERMISSION}
    open_to = {"create": (Role.DEVICE,)}

    @extend_schema(
        operation_id="realtime_ticket",
        summary="A ticket for one live socket",
        request=TicketRequestSerializer,
        responses={201: TicketSerializer},
    )
    def create(self, request: Request) -> Response:
        """Creates a ticket to use as `?ticket=` in a socket's address: valid once, for 30 seconds."""
        ticket_request = TicketRequestSerializer(data=request.data)
        ticket_request.is_valid(raise_exception=True)
        device_id = ticket_request.validated_data.get("device_id")
        caller = caller_of(request)
        device = caller.device
        if device_id is not None:
            device = get_object_or_404(self.get_queryset(), device_id=device_id)
        # The ticket stores the hash of this very key: a ticket from a retiring key expires together with it.
        key = key_in(api_key=request.headers.get("X-API-Key"), authorization=request.headers.get("Authorization"))
        key_hash = hash_key(key) if caller.role is Role.DEVICE and key else None
        ticket, expires_at = Ticket.objects.issue(
            device=device,
            key_hash=key_hash,
            user=caller.user,
            token_id=caller.token.id if caller.token else None,
            now=timezone.now(),
        )
        return Response({"ticket": ticket, "expires_at": rfc3339(expires_at)}, status=status.HTTP_201_CREATED)

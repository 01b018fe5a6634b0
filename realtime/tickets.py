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
        help_text="What the ticket is for; absent: the whole fleet, or with a device's key that device.",
    )


class TicketSerializer(serializers.Serializer[Any]):
    ticket = serializers.CharField()
    expires_at = serializers.DateTimeField()


class TicketViewSet(DeviceScope):
    """Tickets, each for one socket: for browsers on another origin, by way of their own server."""

    admin_permissions = {"create": WATCH_PERMISSION}
    open_to = {"create": (Role.DEVICE,)}

    @extend_schema(
        operation_id="realtime_ticket",
        summary="A ticket for one live socket",
        request=TicketRequestSerializer,
        responses={201: TicketSerializer},
    )
    def create(self, request: Request) -> Response:
        """A ticket for `?ticket=` of a socket's address: good once, for 30 seconds."""
        wish = TicketRequestSerializer(data=request.data)
        wish.is_valid(raise_exception=True)
        device_id = wish.validated_data.get("device_id")
        caller = caller_of(request)
        device = caller.device
        if device_id is not None:
            device = get_object_or_404(self.get_queryset(), device_id=device_id)
        # Whoever asks by a key that is about to end gets a ticket that ends with it.
        key = key_in(api_key=request.headers.get("X-API-Key"), authorization=request.headers.get("Authorization"))
        key_hash = hash_key(key) if caller.role is Role.DEVICE and key else None
        ticket, expires_at = Ticket.objects.issue(
            device=device, key_hash=key_hash, user=caller.user, now=timezone.now()
        )
        return Response({"ticket": ticket, "expires_at": expires_at}, status=status.HTTP_201_CREATED)

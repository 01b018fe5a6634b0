"""The endpoints of links to a view: make, list and delete them."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.exceptions import ErrorDetail, NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Caller, Role
from devices.access.permissions import CallerPermission, Limited
from devices.api.openapi import DATE_TIME, JSON, STRING, array, record
from devices.api.serializers import StrictSerializer
from devices.changes.log import author, log_added, log_deleted
from devices.times import rfc3339
from readings.history.parameters import MomentField
from realtime.models import Share, View
from realtime.saved_views import VIEW_ID, may_change_view, sees_view

VIEW_SHARES, ADD_SHARES, DELETE_SHARES = "realtime.view_share", "realtime.add_share", "realtime.delete_share"
# The list is one page, and part of the page `/explore/`.
SHARES_OF_VIEW_MAX = 20
LIFETIME_DEFAULT = timedelta(days=30)
LIFETIME_MAX = timedelta(days=366)

SHARE_FIELDS: dict[str, Any] = {
    "id": {"type": "integer", "minimum": 1},
    "hint": STRING | {"description": "How the token in the link begins."},
    "created_by": STRING,
    "created_at": DATE_TIME,
    "expires_at": DATE_TIME,
}
SHARE = record(SHARE_FIELDS)
NEW_SHARE = record({"url": STRING | {"description": "The link, which is shown this once."}} | SHARE_FIELDS)
SHARE_ID = OpenApiParameter("share_id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)


def share_document(share: Share) -> dict[str, Any]:
    return {
        "id": share.pk,
        "hint": share.hint,
        "created_by": share.created_by,
        "created_at": rfc3339(share.created_at),
        "expires_at": rfc3339(share.expires_at),
    }


def made_by(caller: Caller, share: Share) -> bool:
    if caller.token is not None:
        return share.token_id == caller.token.id
    return caller.user is not None and share.user_id == caller.user.pk


def share_url(request: Request, token: str) -> str:
    path = reverse("share", kwargs={"token": token})
    return f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else request.build_absolute_uri(path)


class NewShareSerializer(StrictSerializer):
    expires_at = MomentField(
        required=False, help_text="When the link ends: a time, or relative such as +7d. Default: +30d; at most +366d."
    )

    def validate_expires_at(self, value: Any) -> Any:
        now = self.context["now"]
        if value <= now:
            raise serializers.ValidationError("This time is past.", code="in_the_past")
        if value > now + LIFETIME_MAX:
            raise serializers.ValidationError(f"A link ends in at most {LIFETIME_MAX.days} days.", code="too_far")
        return value


class ShareViewSet(GenericViewSet[Share]):
    """Links that show a view, read-only, to whoever has them."""

    permission_classes = [CallerPermission]
    queryset = Share.objects.all()
    admin_permissions = {
        "shares": VIEW_SHARES,
        "create": ADD_SHARES,
        "destroy": DELETE_SHARES,
        "destroy_all": DELETE_SHARES,
    }
    open_to: dict[str, tuple[Role, ...]] = {}

    @extend_schema(
        operation_id="share_list",
        summary="List the links to a view",
        parameters=[VIEW_ID],
        responses={(200, JSON): record({"results": array(SHARE), "next": {"type": "null"}})},
    )
    def shares(self, request: Request, view_id: int) -> Response:
        """The links that have not expired, oldest first. There are at most 20, so that they are one page."""
        self.found(view_id)
        shares = Share.objects.filter(view=view_id, expires_at__gt=timezone.now()).by_age()
        return Response({"results": [share_document(share) for share in shares], "next": None})

    @extend_schema(
        operation_id="share_create",
        summary="Share a view by a link",
        parameters=[VIEW_ID],
        request=NewShareSerializer,
        responses={(201, JSON): NEW_SHARE},
    )
    def create(self, request: Request, view_id: int) -> Response:
        """Returns the link, which is shown only once: the server stores only a hash of its token."""
        self.found(view_id)
        now = timezone.now()
        given = NewShareSerializer(data=request.data, context={"now": now})
        given.is_valid(raise_exception=True)
        expires_at = given.validated_data.get("expires_at", now + LIFETIME_DEFAULT)
        caller = caller_of(request)
        with transaction.atomic():
            view = self.found(view_id, lock=True)  # so that concurrent requests cannot pass the maximum together
            Share.objects.filter(view=view, expires_at__lte=now).delete()
            if Share.objects.filter(view=view).count() >= SHARES_OF_VIEW_MAX:
                detail = f"A view has at most {SHARES_OF_VIEW_MAX} links. Delete one first."
                raise ValidationError({"": ErrorDetail(detail, code="too_many_shares")})
            by = author(caller)
            share, token = Share.objects.issue(
                view,
                by=by.name,
                expires_at=expires_at,
                now=now,
                user=caller.user,
                token_id=caller.token.id if caller.token else None,
            )
            log_added([share], by=by)
        document = {"url": share_url(request, token)} | share_document(share)
        return Response(document, status=status.HTTP_201_CREATED)

    @extend_schema(
        operation_id="share_delete", summary="End a link", parameters=[VIEW_ID, SHARE_ID], responses={204: None}
    )
    def destroy(self, request: Request, view_id: int, share_id: int) -> Response:
        """Whoever has the link cannot see the view any more; an open page is closed within a second."""
        if not self.deleted(request, self.found(view_id), pk=share_id):
            raise NotFound
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="share_delete_all", summary="End all links to a view", parameters=[VIEW_ID], responses={204: None}
    )
    def destroy_all(self, request: Request, view_id: int) -> Response:
        """As for one link, of all links to this view."""
        self.deleted(request, self.found(view_id))
        return Response(status=status.HTTP_204_NO_CONTENT)

    def found(self, view_id: int, *, lock: bool = False) -> View:
        """The view, if the caller may see it."""
        views = View.objects.select_for_update() if lock else View.objects.all()
        try:
            view = views.get(pk=view_id)
        except View.DoesNotExist as error:
            raise NotFound from error
        if not sees_view(caller_of(self.request), view):
            raise NotFound
        return view

    def deleted(self, request: Request, view: View, **which: int) -> bool:
        """Deletes these links of the view, and logs it; returns whether there was any.

        Raises Limited if one of them may show more than the caller sees, unless the caller made it.
        """
        caller = caller_of(request)
        with transaction.atomic():
            chosen = Share.objects.filter(view=view, **which).by_age()
            shares = list(chosen.select_for_update(of=("self",)).select_related("view"))
            if not all(made_by(caller, share) for share in shares) and not may_change_view(caller, view):
                raise Limited
            if shares:
                log_deleted(shares, by=author(caller))
                Share.objects.filter(pk__in=[share.pk for share in shares]).delete()
        return bool(shares)

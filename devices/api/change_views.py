"""`GET /changes`: who changed what, and how."""

from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from devices.access.authentication import caller_of
from devices.access.callers import Caller, Role
from devices.access.permissions import CallerPermission
from devices.api.openapi import DATE_TIME, JSON, STRING, array, record
from devices.api.serializers import QuerySerializer
from devices.changes.models import Via
from devices.models import ChangeDetail
from devices.querysets import of_visible_devices
from devices.times import rfc3339
from devices.tokens.scopes import VIEW_CHANGES
from devices.validators import DEVICE_ID_PATTERN, validate_device_id

ACTIONS = {ADDITION: "added", CHANGE: "changed", DELETION: "deleted"}
# The permission to view objects of these models, which have no permission of their own for it.
VIEWED_WITH = {"alarms.channel": "alarms.manage_rules"}
ID_PATTERN = "^[1-9][0-9]{0,17}$"
VALUES = {"type": "object", "additionalProperties": True}
STRING_OR_NULL = {"type": ["string", "null"]}
CHANGE_DOCUMENT = record(
    {
        "id": {"type": "integer", "minimum": 1},
        "at": DATE_TIME,
        "actor": STRING | {"description": "The account or token, or the service account of a key or command."},
        "via": {"type": ["string", "null"], "enum": [*Via.values, None], "description": "null: not known."},
        "action": {"type": "string", "enum": list(ACTIONS.values())},
        "object": record({"kind": STRING, "id": STRING_OR_NULL, "name": STRING}),
        "device_id": STRING_OR_NULL | {"description": "The device, if the object is one."},
        "change": STRING | {"description": "What was done, in words."},
        "before": VALUES | {"description": "Values of the changed fields. Secrets are left out, long values cut."},
        "after": VALUES,
    }
)


class ChangesQuery(QuerySerializer):
    device_id = serializers.RegexField(
        f"^{DEVICE_ID_PATTERN}\\Z", required=False, validators=[validate_device_id], help_text="Only changes of it."
    )
    limit = serializers.IntegerField(min_value=1, max_value=1000, default=100, help_text="Page size.")
    cursor = serializers.RegexField(
        ID_PATTERN.replace("$", "\\Z"), required=False, help_text="The cursor in `next` of the previous page."
    )


def visible_changes(caller: Caller) -> QuerySet[LogEntry]:
    """The changes of objects of those models that the caller may view; of a limited caller, of its devices."""
    viewed = [
        model
        for model in apps.get_models()
        if caller.may(
            VIEWED_WITH.get(model._meta.label_lower, f"{model._meta.app_label}.view_{model._meta.model_name}")
        )
    ]
    kinds = [kind.pk for kind in ContentType.objects.get_for_models(*viewed).values()]
    return LogEntry.objects.filter(of_visible_devices(caller, "detail__device_id"), content_type__in=kinds)


def change_document(entry: Any) -> dict[str, Any]:
    """A change, whose user, kind and detail are loaded, as the API returns it."""
    detail: ChangeDetail | None = getattr(entry, "detail", None)  # None: an earlier version logged it
    before, after = detail.values if detail else ({}, {})
    return {
        "id": entry.pk,
        "at": rfc3339(entry.action_time),
        "actor": detail.actor if detail else entry.user.get_username(),
        "via": detail.via if detail else None,
        "action": ACTIONS[entry.action_flag],
        "object": {"kind": entry.content_type.model, "id": entry.object_id, "name": entry.object_repr},
        "device_id": (detail.device_id if detail else "") or None,
        "change": entry.get_change_message() or f"{ACTIONS[entry.action_flag].capitalize()}.",
        "before": before,
        "after": after,
    }


class ChangeViewSet(GenericViewSet[LogEntry]):
    permission_classes = [CallerPermission]
    queryset = LogEntry.objects.all()
    admin_permissions = {"changes": VIEW_CHANGES}
    open_to: dict[str, tuple[Role, ...]] = {}

    @extend_schema(
        operation_id="change_list",
        summary="List changes",
        parameters=[ChangesQuery],
        responses={(200, JSON): record({"results": array(CHANGE_DOCUMENT), "next": STRING_OR_NULL})},
    )
    def changes(self, request: Request) -> Response:
        """Who changed what, newest first, in pages: of those kinds of objects that the caller may see.

        A caller that is limited to tags sees the changes of its devices.
        """
        query = ChangesQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = query.validated_data
        entries = visible_changes(caller_of(request)).select_related("user", "content_type", "detail").order_by("-id")
        if "device_id" in asked:
            entries = entries.filter(detail__device_id=asked["device_id"])
        if "cursor" in asked:
            entries = entries.filter(id__lt=int(asked["cursor"]))
        found = list(entries[: asked["limit"] + 1])
        page = found[: asked["limit"]]
        following = None
        if len(found) > len(page):
            kept = {name: asked[name] for name in ("device_id", "limit") if name in asked}
            parameters = urlencode(kept | {"cursor": page[-1].pk})
            following = f"{request.build_absolute_uri(request.path)}?{parameters}"
        return Response({"results": [change_document(entry) for entry in page], "next": following})

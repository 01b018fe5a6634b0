"""The admin site: Django's own, whose first page says how the fleet is."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.actions import delete_selected
from django.contrib.admin.models import LogEntry
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils import timezone

from readings.overview import overview

CHANGES_LISTED = 8


@admin.action(permissions=["delete"], description=delete_selected.short_description)  # type: ignore[attr-defined]
def delete_with_log_entries(model_admin: Any, request: HttpRequest, chosen: QuerySet[Any]) -> HttpResponseBase | None:
    """Django's own action, which writes log entries and deletes, in one transaction."""
    with transaction.atomic():
        return delete_selected(model_admin, request, chosen)


class Console(AdminSite):
    site_header = site_title = "Telemetry"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.add_action(delete_with_log_entries, "delete_selected")

    def admin_view(self, view: Callable[..., HttpResponseBase], cacheable: bool = False) -> Any:
        # Django stores a new password and its log entry in two transactions.
        if getattr(view, "__name__", "") == "user_change_password":
            view = transaction.atomic(view)
        return super().admin_view(view, cacheable)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context: dict[str, Any] = dict(extra_context or {})
        user: Any = request.user
        if user.has_perms(["devices.view_device", "readings.view_reading"]):
            context["fleet"] = overview(now=timezone.now())
            changes = LogEntry.objects.select_related("user", "content_type").order_by("-id")
            context["changes"] = list(changes[:CHANGES_LISTED])
        return super().index(request, context)

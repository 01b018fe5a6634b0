"""The admin site: Django's own, whose first page says how the fleet is."""

from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.utils import timezone

from readings.overview import overview

CHANGES_LISTED = 8


class Console(AdminSite):
    site_header = site_title = "Telemetry"
    index_title = "Overview"
    site_url = None
    enable_nav_sidebar = False

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        context: dict[str, Any] = dict(extra_context or {})
        user: Any = request.user
        if user.has_perms(["devices.view_device", "readings.view_reading"]):
            context["fleet"] = overview(now=timezone.now())
            changes = LogEntry.objects.select_related("user", "content_type").order_by("-id")
            context["changes"] = list(changes[:CHANGES_LISTED])
        return super().index(request, context)

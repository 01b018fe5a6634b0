from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from telemetry.console import accounts  # noqa: F401  registers accounts and groups


@admin.register(LogEntry)
class ChangeAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # not subscriptable at run time
    """A read-only list of changes, however they were made, limited to the models that the account may view."""

    heading = "Changes"
    list_display = ("when", "user", "content_type", "object_repr", "what")
    list_display_links = None
    list_select_related = ("user", "content_type")
    list_filter = ("action_flag", ("content_type", admin.RelatedOnlyFieldListFilter))  # only models that have changes
    search_fields = ("object_repr", "user__username")
    search_help_text = "Search by object or by account"
    ordering = ("-id",)
    show_full_result_count = False
    actions = None
    show_facets = admin.ShowFacets.NEVER

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return self.admin_site.get_log_entries(request)

    @admin.display(ordering="id")
    def when(self, entry: LogEntry) -> str:
        return format_html('<time data-ago datetime="{0}">{0}</time>', entry.action_time.isoformat())

    @admin.display(description="change")
    def what(self, entry: LogEntry) -> str:
        return str(entry.get_change_message()) or "Added."

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

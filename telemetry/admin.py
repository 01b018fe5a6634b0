from operator import itemgetter
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join

from devices.changes.models import Via
from devices.console.read_only import ReadOnlyAdmin
from devices.models import ChangeDetail
from telemetry.console import accounts  # noqa: F401  registers accounts and groups

# Fields of one change in the list, and characters of one value.
VALUES_SHOWN = 6
VALUE_CHARACTERS = 80


def detail_of(entry: LogEntry) -> ChangeDetail | None:
    """None for changes that an earlier version logged."""
    return getattr(entry, "detail", None)


def short(value: Any) -> str:
    """A value for a cell; a dash for none."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if value in (None, "", []):
        return "–"
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}…"


class ActionFilter(admin.ChoicesFieldListFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "change"


class KindFilter(admin.RelatedOnlyFieldListFilter):
    """Only the models that have changes, with the names that the list shows."""

    include_empty_choice = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.title = "kind"

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        choices: Any = super().field_choices(field, request, model_admin)
        return sorted(((pk, ContentType.objects.get_for_id(pk).name) for pk, _ in choices), key=itemgetter(1))


@admin.register(LogEntry)
class ChangeAdmin(ReadOnlyAdmin):
    """A read-only list of changes, however they were made, limited to the models that the account may view."""

    heading = "Changes"
    list_display = ("when", "who", "how", "kind", "named", "what", "values")
    list_display_links = None
    list_select_related = ("user", "content_type", "detail")
    list_filter = (("action_flag", ActionFilter), ("content_type", KindFilter))
    search_fields = ("object_repr", "user__username")
    search_help_text = "Search by object or by account"
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return self.admin_site.get_log_entries(request)

    @admin.display(ordering="id")
    def when(self, entry: LogEntry) -> str:
        return format_html('<time data-ago datetime="{0}">{0}</time>', entry.action_time.isoformat())

    @admin.display(description="change")
    def what(self, entry: LogEntry) -> str:
        return str(entry.get_change_message()) or "Added."

    @admin.display(description="account or token", ordering="user__username")
    def who(self, entry: LogEntry) -> str:
        detail = detail_of(entry)
        return detail.actor if detail else entry.user.get_username()

    @admin.display(description="by", ordering="detail__via")
    def how(self, entry: LogEntry) -> str:
        detail = detail_of(entry)
        return Via(detail.via).label if detail else ""

    @admin.display(description="kind", ordering="content_type__model")
    def kind(self, entry: LogEntry) -> str:
        return "" if entry.content_type is None else entry.content_type.name

    @admin.display(description="object", ordering="object_repr")
    def named(self, entry: LogEntry) -> str:
        return entry.object_repr

    @admin.display(description="before → after")
    def values(self, entry: LogEntry) -> str:
        """Of each changed field the value before and after; of a new or deleted object the first fields."""
        before, after = detail.values if (detail := detail_of(entry)) else ({}, {})
        names = [*before, *(name for name in after if name not in before)][:VALUES_SHOWN]
        rows = [(name, short(before.get(name)), short(after.get(name))) for name in names]
        return format_html_join("", "<div>{}: {} → {}</div>", rows)

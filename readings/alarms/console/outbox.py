"""The outbox in the console: what was sent, what waits, and what was given up."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from devices.console.read_only import ReadOnlyAdmin
from readings.alarms.console.channels import MANAGE_RULES
from readings.alarms.models import Channel, Delivery


class ChannelFilter(admin.SimpleListFilter):
    """One parameter, `receiver`; Django's filter of a foreign key would also take look-ups beyond it."""

    title = "channel"
    parameter_name = "receiver"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(pk), name) for pk, name in Channel.objects.order_by("name", "id").values_list("id", "name")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        chosen = self.value()
        known = {value for value, _ in self.lookup_choices}
        return queryset.filter(channel_id=int(chosen)) if chosen in known else queryset


class DeliveryAdmin(ReadOnlyAdmin):
    heading = "Messages"
    list_display = ("written", "message_type", "rule", "alarms", "channel", "state", "tries", "next_try", "error")
    list_display_links = None
    list_filter = ("state", ChannelFilter)
    list_select_related = ("message__rule", "channel")
    ordering = ("-id",)
    sortable_by = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm(MANAGE_RULES))

    @admin.display(description="written (UTC)")
    def written(self, delivery: Delivery) -> str:
        return f"{delivery.message.created_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="type")
    def message_type(self, delivery: Delivery) -> str:
        return delivery.message.type

    @admin.display(description="rule")
    def rule(self, delivery: Delivery) -> str:
        return delivery.message.rule.name

    @admin.display(description="alarms")
    def alarms(self, delivery: Delivery) -> int:
        return delivery.message.count

    @admin.display(description="next try (UTC)")
    def next_try(self, delivery: Delivery) -> str:
        return f"{delivery.next_try_at:%Y-%m-%d %H:%M:%S}" if delivery.finished_at is None else ""

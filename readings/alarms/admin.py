"""The console's pages: read-only lists of alarms and rules, which the API changes, mutes, channels, and the outbox."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from devices.console.read_only import ReadOnlyAdmin
from readings.alarms.console.channels import ChannelAdmin
from readings.alarms.console.mutes import DeviceMuteAdmin, TagMuteAdmin
from readings.alarms.console.outbox import DeliveryAdmin
from readings.alarms.models import Alarm, Channel, Delivery, DeviceMute, Rule, TagMute
from readings.alarms.rules.scopes import tags_of

admin.site.register(Channel, ChannelAdmin)
admin.site.register(Delivery, DeliveryAdmin)
admin.site.register(DeviceMute, DeviceMuteAdmin)
admin.site.register(TagMute, TagMuteAdmin)


@admin.register(Alarm)
class AlarmAdmin(ReadOnlyAdmin):
    list_display = ("device_id", "rule", "severity", "opened", "value", "resolved", "reason", "acknowledged_by")
    fields = (
        *("device_id", "rule", "metric", "began_at", "opened_at", "noticed_at", "value", "worst", "resolved_at"),
        *("reason", "late", "acknowledged_at", "acknowledged_by", "comment"),
    )
    list_filter = ("rule__severity", "reason")
    list_select_related = ("rule",)
    search_fields = ("device__device_id",)
    search_help_text = "Device id"
    ordering = ("-opened_at", "-id")

    @admin.display(ordering="rule__severity")
    def severity(self, alarm: Alarm) -> str:
        return alarm.rule.get_severity_display()

    @admin.display(ordering="opened_at", description="opened (UTC)")
    def opened(self, alarm: Alarm) -> str:
        return f"{alarm.opened_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(ordering="resolved_at", description="resolved (UTC)")
    def resolved(self, alarm: Alarm) -> str:
        return "open" if alarm.resolved_at is None else f"{alarm.resolved_at:%Y-%m-%d %H:%M:%S}"


@admin.register(Rule)
class RuleAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "severity", "metric", "for_all_devices", "is_active")
    fields = (
        *("name", "kind", "severity", "metric", "above", "below", "for_seconds", "clear_margin", "clear_for"),
        *("seconds", "tolerance", "change", "per", "for_all_devices", "named_tags", "text"),
        *("repeat", "muted_until", "is_active", "judged_since"),
    )
    list_filter = ("kind", "severity", "is_active")
    search_fields = ("name",)
    search_help_text = "Name"
    ordering = ("name", "id")

    @admin.display(description="tags", empty_value="-")
    def named_tags(self, rule: Rule) -> str:
        """A rule with tags applies to the devices that have all of them."""
        return ", ".join(tag.name for tag in tags_of(rule))

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(deleted_at=None)

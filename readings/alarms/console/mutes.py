"""What is muted, in the console: devices and tags, and until when. The pages mute; here a mute can be ended."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from devices.changes.log import Author, account
from devices.console.read_only import ReadOnlyAdmin
from devices.plurals import counted
from readings.alarms.delivery.muting import mute_device, mute_tag
from readings.alarms.models import DeviceMute, TagMute

VIEW_ALARMS = "alarms.view_alarm"
ACKNOWLEDGE = "alarms.acknowledge_alarm"


class MuteAdmin(ReadOnlyAdmin):
    list_display_links = None
    actions = ("end_mutes",)
    sortable_by = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        user: Any = request.user
        return bool(user.has_perm(VIEW_ALARMS))

    def has_mute_permission(self, request: HttpRequest) -> bool:
        user: Any = request.user
        return bool(user.has_perm(ACKNOWLEDGE))

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> None:
        """None: a mute has no page of its own."""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).filter(until__gt=timezone.now())

    @admin.display(description="until (UTC)")
    def ends(self, mute: DeviceMute | TagMute) -> str:
        return f"{mute.until:%Y-%m-%d %H:%M}"

    @admin.action(description="End the mute", permissions=["mute"])
    def end_mutes(self, request: HttpRequest, mutes: QuerySet[Any]) -> None:
        ended = list(mutes)
        for mute in ended:
            self.end(mute, by=account(request.user))
        self.message_user(request, f"{counted(len(ended), 'mute', 'mutes')} ended.", messages.SUCCESS)

    def end(self, mute: Any, *, by: Author) -> None:
        raise NotImplementedError


class DeviceMuteAdmin(MuteAdmin):
    list_display = ("device_id", "name", "ends")
    list_select_related = ("device",)
    search_fields = ("device__device_id", "device__name")
    ordering = ("until", "device_id")

    @admin.display(description="name")
    def name(self, mute: DeviceMute) -> str:
        return mute.device.name

    def end(self, mute: DeviceMute, *, by: Author) -> None:
        mute_device(mute.device, None, by=by)


class TagMuteAdmin(MuteAdmin):
    list_display = ("tag", "ends")
    list_select_related = ("tag",)
    search_fields = ("tag__name",)
    ordering = ("until", "tag_id")

    def end(self, mute: TagMute, *, by: Author) -> None:
        mute_tag(mute.tag, None, by=by)

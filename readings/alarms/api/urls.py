from django.urls import path

from devices.api import converters as device_converters  # noqa: F401  registers <device_id:…>, <tag_name:…>
from readings.alarms.api import converters  # noqa: F401  registers <rule_id:…>, <channel_id:…>
from readings.alarms.api.channels import ChannelViewSet, DeviceMuteViewSet, TagMuteViewSet
from readings.alarms.api.views import AlarmViewSet, DeviceAlarmsViewSet, RuleViewSet

urlpatterns = [
    path("alarms", AlarmViewSet.as_view({"get": "alarms"}), name="alarm-list"),
    path("alarms/<uuid:alarm_id>/acknowledge", AlarmViewSet.as_view({"post": "acknowledge"}), name="alarm-acknowledge"),
    path("alarm-rules", RuleViewSet.as_view({"get": "rules", "post": "create"}), name="alarm-rule-list"),
    path("alarm-rules/preview", RuleViewSet.as_view({"post": "preview"}), name="alarm-rule-preview"),
    path(
        "alarm-rules/<rule_id:rule_id>",
        RuleViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="alarm-rule-detail",
    ),
    path(
        "alarm-rules/<rule_id:rule_id>/mute",
        RuleViewSet.as_view({"put": "mute", "delete": "unmute"}),
        name="alarm-rule-mute",
    ),
    path("channels", ChannelViewSet.as_view({"get": "channels", "post": "create"}), name="channel-list"),
    path(
        "channels/<channel_id:channel_id>",
        ChannelViewSet.as_view({"patch": "partial_update", "delete": "destroy"}),
        name="channel-detail",
    ),
    path("channels/<channel_id:channel_id>/test", ChannelViewSet.as_view({"post": "test"}), name="channel-test"),
    path(
        "devices/<device_id:device_id>/mute",
        DeviceMuteViewSet.as_view({"get": "retrieve", "put": "mute", "delete": "unmute"}),
        name="device-mute",
    ),
    path(
        "tags/<tag_name:name>/mute",
        TagMuteViewSet.as_view({"get": "retrieve", "put": "mute", "delete": "unmute"}),
        name="tag-mute",
    ),
    path(
        "devices/<device_id:device_id>/alarms",
        DeviceAlarmsViewSet.as_view({"get": "alarms"}),
        name="device-alarms",
    ),
]

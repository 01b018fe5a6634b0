from django.urls import path

from devices.api import converters  # noqa: F401  registers <device_id:…>
from devices.api.change_views import ChangeViewSet
from devices.api.tag_views import TagViewSet
from devices.api.token_views import TokenViewSet
from devices.api.views import DeviceViewSet
from devices.registration.api import DeviceImportViewSet

urlpatterns = [
    path("devices", DeviceViewSet.as_view({"get": "list", "post": "create"}), name="device-list"),
    path("device-imports", DeviceImportViewSet.as_view({"post": "create"}), name="device-import"),
    path(
        "devices/<device_id:device_id>",
        DeviceViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="device-detail",
    ),
    path(
        "devices/<device_id:device_id>/rotate-key",
        DeviceViewSet.as_view({"post": "rotate_key"}),
        name="device-rotate-key",
    ),
    path("changes", ChangeViewSet.as_view({"get": "changes"}), name="change-list"),
    path("tokens", TokenViewSet.as_view({"get": "tokens", "post": "create"}), name="token-list"),
    path("tokens/<token_id:token_id>", TokenViewSet.as_view({"delete": "destroy"}), name="token-detail"),
    path("tags", TagViewSet.as_view({"get": "tags", "post": "create"}), name="tag-list"),
    path(
        "tags/<tag_name:name>",
        TagViewSet.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="tag-detail",
    ),
]

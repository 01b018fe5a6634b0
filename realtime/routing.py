from typing import Any

from channels.routing import URLRouter
from django.urls import re_path

from devices.validators import DEVICE_ID_PATTERN
from realtime.consumers import DeviceConsumer, FleetConsumer, NowhereConsumer
from realtime.sharing.address import SHARE_PATTERN
from realtime.sharing.socket import ShareConsumer

# The type is Any because Django's `re_path` expects views, but Channels' router takes ASGI applications.
applications: list[tuple[str, Any]] = [
    (rf"^api/v1/realtime/subscribe/(?P<device_id>{DEVICE_ID_PATTERN})/?$", DeviceConsumer.as_asgi()),
    (r"^api/v1/realtime/subscribe/?$", FleetConsumer.as_asgi()),
    (rf"^api/v1/realtime/share/(?P<token>{SHARE_PATTERN})/?$", ShareConsumer.as_asgi()),
    (r"", NowhereConsumer.as_asgi()),
]
websocket_application = URLRouter([re_path(pattern, application) for pattern, application in applications])

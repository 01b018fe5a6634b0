from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.urls import re_path

from devices.validators import DEVICE_ID_PATTERN
from realtime.consumers import DeviceConsumer, NowhereConsumer

websocket_application = AuthMiddlewareStack(
    URLRouter(
        [
            re_path(rf"^api/v1/realtime/subscribe/(?P<device_id>{DEVICE_ID_PATTERN})/?$", DeviceConsumer.as_asgi()),
            re_path(r"", NowhereConsumer.as_asgi()),
        ]
    )
)

"""`POST /readings` sends a message to a group; a consumer forwards each message with `send_json`."""

import json
import os
from itertools import count
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.contenders.stock.settings")
django_application = get_asgi_application()

from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.http import HttpRequest, JsonResponse
from django.urls import path

GROUP = "readings"
numbers = count(1)


class Readings(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    async def connect(self) -> None:
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()
        await self.send_json({"type": "subscribed"})

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def reading(self, event: dict[str, Any]) -> None:
        await self.send_json({"type": "readings", "device_id": "d-0", "readings": [event["reading"]]})


async def post(request: HttpRequest) -> JsonResponse:
    reading = json.loads(request.body) | {"seq": next(numbers)}
    await get_channel_layer().group_send(GROUP, {"type": "reading", "reading": reading})
    response = JsonResponse({"seq": reading["seq"]}, status=201)
    response["Content-Length"] = len(response.content)
    return response


urlpatterns = [path("readings", post)]
application = ProtocolTypeRouter(
    {"http": django_application, "websocket": URLRouter([path("live", Readings.as_asgi())])}
)

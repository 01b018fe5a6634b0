"""A socket that watches one device: every reading, in order, once."""

import contextlib
import logging
from typing import Any
from urllib.parse import parse_qs

import msgspec
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from redis.exceptions import RedisError

from readings.models import Reading
from realtime import frames
from realtime.admission import NOT_FOUND, Handshake, Refused, admit, parse_after
from realtime.groups import device_group
from realtime.instruments import HOLES_MENDED
from realtime.origins import origin_is_ours

logger = logging.getLogger(__name__)

# Not 1013, which says the same: daphne can send no code between 1001 and 2999.
TRY_AGAIN_LATER = 4503


class RefusingConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Refuses in a way a browser can read: the handshake's own error answer it never shows to a page."""

    accepted = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        except (RedisError, OSError, DatabaseError, InterfaceError) as error:
            logger.warning("A socket was closed: the channel layer or the database is away (%r)", error)
            for group in self.groups:
                with contextlib.suppress(RedisError, OSError):
                    await self.channel_layer.group_discard(group, self.channel_name)
            if not self.accepted:
                await send({"type": "websocket.accept"})
            frame = frames.error("unavailable", "Nothing can be followed just now; try again.")
            await send({"type": "websocket.send", "text": frame})
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})

    async def accept(self, *args: Any, **kwargs: Any) -> None:
        await super().accept(*args, **kwargs)
        self.accepted = True

    async def refuse(self, close_code: int, code: str, detail: str) -> None:
        await self.send(frames.error(code, detail))
        await self.close(code=close_code)


class NowhereConsumer(RefusingConsumer):
    """Any socket address that there is not."""

    async def connect(self) -> None:
        await self.accept()
        await self.refuse(NOT_FOUND, "not_found", "There is no socket at this address.")


class DeviceConsumer(RefusingConsumer):
    """`last_seq` is the position of this socket: everything up to it was sent, nothing after it.

    Joined to the group first, it reads what is stored, then takes what is announced. A message that does not
    start at the next position is either known already, or shows a hole that the database fills.
    """

    device_id: str
    last_seq: int

    async def connect(self) -> None:
        headers = {name: value.decode("latin-1") for name, value in self.scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and not origin_is_ours(origin, headers.get(b"host", "")):
            await self.close()  # not accepted yet, so the handshake is answered with a 403
            return
        await self.accept()
        try:
            await self.subscribe(self.handshake(headers, origin))
        except Refused as refusal:
            await self.refuse(refusal.close_code, refusal.code, refusal.detail)

    def handshake(self, headers: dict[bytes, str], origin: str | None) -> Handshake:
        query = parse_qs(self.scope["query_string"].decode("ascii", "replace"))
        return Handshake(
            api_key=headers.get(b"x-api-key"),
            authorization=headers.get(b"authorization"),
            ticket=query["ticket"][-1] if "ticket" in query else None,
            # Browsers send cookies along from any page; only the origin tells whose page it was.
            user=self.scope["user"] if origin is not None else None,
        )

    async def subscribe(self, handshake: Handshake) -> None:
        after = parse_after(self.scope["query_string"])
        self.device_id = self.scope["url_route"]["kwargs"]["device_id"]
        device = await database_sync_to_async(admit)(handshake, self.device_id, now=timezone.now())
        group = device_group(device.pk)
        self.groups.append(group)  # left again on disconnect
        await self.channel_layer.group_add(group, self.channel_name)
        # Read once more: since it was admitted the log may have grown, unheard.
        await database_sync_to_async(device.state.refresh_from_db)(fields=["last_seq"])
        stored = device.state.last_seq
        await self.send(frames.subscribed(self.device_id, stored))
        self.last_seq = stored if after is None else min(after, stored)
        await self.catch_up(stored)

    async def catch_up(self, until: int) -> None:
        """Sends what is stored beyond this socket's position, at least up to `until`."""
        while self.last_seq < until and (entries := await database_sync_to_async(self.stored_entries)()):
            await self.send(frames.readings(self.device_id, entries))
            self.last_seq = entries[-1].seq

    def stored_entries(self) -> list[Reading]:
        return list(Reading.objects.log_after(self.device_id, self.last_seq, limit=frames.READINGS_PER_FRAME))

    async def readings_recorded(self, message: dict[str, Any]) -> None:
        """The receiver's announcement; see realtime.receivers."""
        if message["last_seq"] <= self.last_seq:
            return
        if message["first_seq"] == self.last_seq + 1:
            await self.send(message["frame"])
            self.last_seq = message["last_seq"]
        else:
            HOLES_MENDED.inc()
            await self.catch_up(message["last_seq"])

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            message = msgspec.json.decode(text_data or b"")
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            message = None
        if isinstance(message, dict) and message.get("type") == "ping":
            await self.send(frames.pong())
        else:
            await self.send(frames.error("unreadable", 'Send {"type":"ping"}; a watcher says nothing else.'))

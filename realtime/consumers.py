"""The sockets: Channels consumers, one small state machine a connection.

Without two things that `AsyncConsumer` does: `dispatch` gives each message a thread's turn, to close old connections to
the database, and each socket has a channel of its own in the layer. Here a process has one (`realtime.stream.hub`).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from channels.consumer import AsyncConsumer
from django.conf import settings
from django.db import DatabaseError, InterfaceError
from django.http import parse_cookie
from django.utils import timezone

from devices.access.current import calling_device
from realtime.access.admission import (
    BAD_REQUEST,
    NOT_FOUND,
    Admission,
    Handshake,
    Refused,
    admit,
    parse_after,
    parse_log,
    parse_resume,
)
from realtime.access.origins import origin_is_ours
from realtime.database import in_database
from realtime.protocol import frames
from realtime.protocol.endings import UNAVAILABLE, Ending
from realtime.protocol.messages import MESSAGE_MAX, TOO_BIG, Ping, Resume, Resuming, Unreadable, decode
from realtime.stream.hub import current_hub
from realtime.stream.outbox import Outbox
from realtime.stream.subscriptions import Subscription

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# A client that said it would tell where it was has so long for it.
RESUME_SECONDS = 30.0
RESUMED_MAX = 500_000

NO_SUCH_SOCKET = Ending(NOT_FOUND, "not_found", "There is no socket at this address.")
MESSAGE_TOO_BIG = Ending(TOO_BIG, "message_too_big", f"A message has at most {MESSAGE_MAX} characters.")
RESUME_TIMEOUT = Ending(BAD_REQUEST, "resume_timeout", f"The last position came not within {RESUME_SECONDS:.0f} s.")
TOO_MANY_POSITIONS = Ending(BAD_REQUEST, "too_many_positions", f"At most {RESUMED_MAX} positions.")


class Disconnected(Exception):
    """The client is gone, or the socket closed."""


class Consumer(AsyncConsumer):  # type: ignore[misc]  # channels has no types
    """One connection. It refuses in a way a browser can read: a handshake's own error is never shown to a page."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.base_send = scope, receive, send
        await self.receive()  # websocket.connect
        calling_device.set(self.scope["url_route"]["kwargs"].get("device_id", ""))
        headers = {name: value.decode("latin-1") for name, value in self.scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and not origin_is_ours(origin, headers.get(b"host", "")):
            await self.send({"type": "websocket.close"})  # not accepted yet, so the handshake is answered with a 403
            return
        await self.send({"type": "websocket.accept"})
        self.outgoing = Outbox(self.send)
        talking = asyncio.create_task(self.talk(headers, origin))
        try:
            # Either may end it: the client by going, the server by closing.
            await asyncio.wait((talking, self.outgoing.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (talking, self.outgoing.task):
                task.cancel()
            await asyncio.gather(talking, self.outgoing.task, return_exceptions=True)

    async def talk(self, headers: dict[bytes, str], origin: str | None) -> None:
        """Until the client is gone; a socket that the server closes waits here for its last frames to be sent."""
        try:
            await self.serve(handshake(self.scope, headers, origin))
        except Disconnected:
            if self.outgoing.ending is None:
                return
        except Refused as refusal:
            self.outgoing.end(refusal.ending)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            logger.warning("A socket was closed: the database is away (%s)", str(error).strip() or "no answer")
            self.outgoing.end(UNAVAILABLE)
        except Exception:
            logger.exception("A socket failed: %s", self.scope["path"])
            self.outgoing.end(UNAVAILABLE)
        await self.outgoing.task

    async def serve(self, handshake: Handshake) -> None:
        """Raises Refused, Disconnected, DatabaseError, TimeoutError."""
        raise NotImplementedError

    async def admit(self, handshake: Handshake, device_id: str | None) -> Admission:
        return await in_database(admit, handshake, device_id, now=timezone.now())

    def subscription(self, admission: Admission) -> Subscription:
        return Subscription(self.outgoing, admission.credential, admission.version)

    async def message(self) -> Ping | Resume | None:
        """What the client says next; None for what cannot be read. Raises Disconnected."""
        received = await self.receive()
        if received["type"] == "websocket.disconnect":
            raise Disconnected
        text, content = received.get("text"), received.get("bytes")
        if len(text or "") > MESSAGE_MAX or len(content or b"") > MESSAGE_MAX:
            self.outgoing.give_up(MESSAGE_TOO_BIG)
            raise Disconnected
        try:
            return decode(text)
        except Unreadable:
            return None

    async def listen(self, answer: Callable[[Resume], bool] | None = None) -> None:
        """Answers pings and complains of the rest. Raises Disconnected. `answer` returns whether to go on."""
        while True:
            message = await self.message()
            if isinstance(message, Ping):
                self.outgoing.put(frames.pong())
            elif message is None or answer is None:
                self.outgoing.put(frames.error("unreadable", 'Send {"type":"ping"}; a watcher says nothing else.'))
            elif not answer(message):
                return


def handshake(scope: dict[str, Any], headers: dict[bytes, str], origin: str | None) -> Handshake:
    query = parse_qs(scope["query_string"].decode("ascii", "replace"))
    return Handshake(
        api_key=headers.get(b"x-api-key"),
        authorization=headers.get(b"authorization"),
        ticket=query["ticket"][-1] if "ticket" in query else None,
        # Browsers send cookies along from any page; only the origin tells whose page it was.
        session_key=parse_cookie(headers.get(b"cookie", "")).get(settings.SESSION_COOKIE_NAME) if origin else None,
    )


class NowhereConsumer(Consumer):
    """Any socket address that there is not."""

    async def serve(self, handshake: Handshake) -> None:
        self.outgoing.end(NO_SUCH_SOCKET)


class DeviceConsumer(Consumer):
    """Watches one device: every reading behind `?after=`, in order, once."""

    async def serve(self, handshake: Handshake) -> None:
        after, log_id = parse_after(self.scope["query_string"]), parse_log(self.scope["query_string"])
        admission = await self.admit(handshake, self.scope["url_route"]["kwargs"]["device_id"])
        assert admission.device is not None
        subscription, hub = self.subscription(admission), current_hub()
        try:
            await hub.watch_device(subscription, admission.device, after=after, log_id=log_id)
            await self.listen()
        finally:
            hub.leave(subscription)


class FleetConsumer(Consumer):
    """Watches every device; a client that was here before says where, and gets what it missed."""

    async def serve(self, handshake: Handshake) -> None:
        resumes = parse_resume(self.scope["query_string"])
        admission = await self.admit(handshake, None)
        subscription, hub = self.subscription(admission), current_hub()
        self.outgoing.put(frames.subscribed_to_fleet())
        resuming = Resuming()
        if resumes:
            await self.hear_positions(resuming)
        try:
            await hub.watch_fleet(subscription, resuming if resumes else None)
            await self.listen()
        finally:
            hub.leave(subscription)

    async def hear_positions(self, resuming: Resuming) -> None:
        def add(message: Resume) -> bool:
            resuming.add(message)
            if len(resuming.positions) > RESUMED_MAX:
                raise Refused(TOO_MANY_POSITIONS)
            return not resuming.done

        try:
            async with asyncio.timeout(RESUME_SECONDS):
                await self.listen(add)
        except TimeoutError as error:
            raise Refused(RESUME_TIMEOUT) from error

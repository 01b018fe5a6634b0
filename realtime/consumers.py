"""The live sockets: Channels consumers, one instance for each connection.

They leave out two things that `AsyncConsumer` does. Its `dispatch` runs each message through a thread to close old
database connections, and it gives each socket a channel of its own in the layer. Here all sockets of a process share
one channel (`realtime.stream.listener`).
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
    parse_only,
    parse_resume,
)
from realtime.access.origins import origin_is_ours
from realtime.database import in_database
from realtime.protocol import frames
from realtime.protocol.client_messages import MESSAGE_MAX, TOO_BIG, Ping, Resume, Resuming, Unreadable, decode
from realtime.protocol.endings import UNAVAILABLE, Ending
from realtime.stream.hub import current_hub
from realtime.stream.outbox import Outbox
from realtime.stream.subscriptions import Subscription

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

# Seconds within which a client with `?resume=true` must send its last position.
RESUME_SECONDS = 30.0
# Positions that such a client may send in all.
RESUMED_MAX = 500_000

NO_SUCH_SOCKET = Ending(NOT_FOUND, "not_found", "There is no socket at this address.")
MESSAGE_TOO_BIG = Ending(TOO_BIG, "message_too_big", f"A message has at most {MESSAGE_MAX} characters.")
RESUME_TIMEOUT = Ending(
    BAD_REQUEST, "resume_timeout", f"The last positions did not arrive within {RESUME_SECONDS:.0f} s."
)
TOO_MANY_POSITIONS = Ending(BAD_REQUEST, "too_many_positions", f"At most {RESUMED_MAX} positions can be sent.")


class Disconnected(Exception):
    """The client has disconnected, or the server closes the socket."""


class Consumer(AsyncConsumer):  # type: ignore[misc]  # channels has no types
    """One connection.

    A refused client is accepted first, then gets an error frame and a close code, because browsers do not show a page
    the HTTP error of a handshake. Only a foreign Origin is refused in the handshake.
    """

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.base_send = scope, receive, send
        await self.receive()  # websocket.connect
        calling_device.set(self.scope["url_route"]["kwargs"].get("device_id", ""))
        headers = {name: value.decode("latin-1") for name, value in self.scope["headers"]}
        origin = headers.get(b"origin")
        if origin is not None and not origin_is_ours(origin, headers.get(b"host", "")):
            await self.send({"type": "websocket.close"})  # not accepted yet: the client gets a 403
            return
        await self.send({"type": "websocket.accept"})
        self.outgoing = Outbox(self.send)
        talking = asyncio.create_task(self.talk(headers, origin))
        try:
            # The first task ends when the client disconnects, the second when the server closes the socket.
            await asyncio.wait((talking, self.outgoing.task), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (talking, self.outgoing.task):
                task.cancel()
            await asyncio.gather(talking, self.outgoing.task, return_exceptions=True)

    async def talk(self, headers: dict[bytes, str], origin: str | None) -> None:
        """Runs until the client disconnects, or until the last frames are sent on a socket that the server closes."""
        try:
            await self.serve(handshake(self.scope, headers, origin))
        except Disconnected:
            if self.outgoing.ending is None:
                return
        except Refused as refusal:
            self.outgoing.end(refusal.ending)
        except (DatabaseError, InterfaceError, TimeoutError) as error:
            logger.warning("A socket was closed: the database does not answer (%s)", str(error).strip() or "no answer")
            self.outgoing.end(UNAVAILABLE)
        except Exception:
            logger.exception("A socket failed: %s", self.scope["path"])
            self.outgoing.end(UNAVAILABLE)
        await self.outgoing.task

    async def serve(self, handshake: Handshake) -> None:
        """Serves the connection until it ends. Raises Refused, Disconnected, DatabaseError, TimeoutError."""
        raise NotImplementedError

    async def admit(self, handshake: Handshake, device_id: str | None, *, only_alarms: bool = False) -> Admission:
        return await in_database(admit, handshake, device_id, only_alarms=only_alarms, now=timezone.now())

    def subscription(self, admission: Admission, *, only_alarms: bool = False) -> Subscription:
        return Subscription(
            self.outgoing,
            admission.credential,
            admission.version,
            sees_alarms=admission.sees_alarms,
            only_alarms=only_alarms,
            scope=admission.scope,
        )

    async def message(self) -> Ping | Resume | None:
        """The client's next message; None if it cannot be decoded. Raises Disconnected.

        A message of more than MESSAGE_MAX characters or bytes closes the socket with 1009.
        """
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
        """Answers pings, passes `resume` messages to `answer`, and sends an error frame for anything else.

        Returns when `answer` returns False. Raises Disconnected.
        """
        while True:
            message = await self.message()
            if isinstance(message, Ping):
                self.outgoing.put(frames.pong())
            elif message is None or answer is None:
                self.outgoing.put(frames.error("unreadable", 'This message cannot be read. Send {"type":"ping"}.'))
            elif not answer(message):
                return


def handshake(scope: dict[str, Any], headers: dict[bytes, str], origin: str | None) -> Handshake:
    query = parse_qs(scope["query_string"].decode("ascii", "replace"))
    return Handshake(
        api_key=headers.get(b"x-api-key"),
        authorization=headers.get(b"authorization"),
        ticket=query["ticket"][-1] if "ticket" in query else None,
        # Browsers send cookies from any page, so the session is used only with an Origin, which was checked.
        session_key=parse_cookie(headers.get(b"cookie", "")).get(settings.SESSION_COOKIE_NAME) if origin else None,
    )


class NowhereConsumer(Consumer):
    """Answers sockets at an unknown address."""

    async def serve(self, handshake: Handshake) -> None:
        self.outgoing.end(NO_SUCH_SOCKET)


class DeviceConsumer(Consumer):
    """Watches one device: sends every reading after `?after=`, in order, once."""

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
    """Watches every device. A client that resumes sends its positions first, and then gets what it missed.

    With `?only=alarms` it watches the alarms of all devices, and no readings.
    """

    async def serve(self, handshake: Handshake) -> None:
        resumes, only_alarms = parse_resume(self.scope["query_string"]), parse_only(self.scope["query_string"])
        admission = await self.admit(handshake, None, only_alarms=only_alarms)
        subscription, hub = self.subscription(admission, only_alarms=only_alarms), current_hub()
        self.outgoing.put(frames.subscribed_to_fleet())
        resuming = Resuming()
        if resumes and not only_alarms:
            await self.hear_positions(resuming)
        try:
            if only_alarms:
                await hub.watch_alarms(subscription)
            else:
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

"""The frames that wait to be sent on one socket: bounded, and dropped if its reader is too slow."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from realtime.protocol import frames
from realtime.protocol.endings import TOO_SLOW, UNAVAILABLE, Ending

logger = logging.getLogger(__name__)

# Characters that may wait. Sockets share the string of a frame, so a thousand slow readers need little more memory.
WAITING_MAX = 1024 * 1024
# A replay continues when at most this many characters wait.
ROOM = 256 * 1024
# Seconds after which a reader that has taken nothing, although frames wait for it, is too slow.
STALL_SECONDS = 10.0
# Seconds for the error frame, and again for the close: with `revocations.LOOK_SECONDS` less than a second in all.
CLOSE_SECONDS = 0.4


class Outbox:
    """Sends frames in order until there is an ending; `put` never waits.

    `task` ends when the socket is closed or the client has disconnected. To give a reader up, only `sending` is
    cancelled, because `asyncio.timeout` fails in a task that continues after its own cancellation on Python before
    3.11.3 (gh-102780).
    """

    def __init__(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        self.send = send
        self.waiting: deque[str] = deque()
        self.size = 0
        self.ending: Ending | None = None
        self.sending_since: float | None = None
        self.changed = asyncio.Event()
        self.roomy = asyncio.Event()
        self.roomy.set()
        self.sending = asyncio.create_task(self.send_waiting())
        self.task = asyncio.create_task(self.run())

    def put(self, frame: str) -> None:
        if self.ending is not None:
            return
        if self.waiting and self.size + len(frame) > WAITING_MAX:
            self.give_up(TOO_SLOW)
            return
        self.waiting.append(frame)
        self.size += len(frame)
        self.changed.set()
        if self.size > ROOM:
            self.roomy.clear()

    async def room(self) -> None:
        """Waits until at most ROOM characters wait, or there is an ending."""
        await self.roomy.wait()

    def end(self, ending: Ending) -> None:
        """Closes the socket after the waiting frames are sent, or after STALL_SECONDS."""
        if self.ending is None:
            self.ending = ending
            self.changed.set()
            self.roomy.set()
            asyncio.get_running_loop().call_later(STALL_SECONDS, self.give_up, ending)

    def give_up(self, ending: Ending) -> None:
        """Drops the waiting frames and closes the socket, even if `end` was called before."""
        if self.sending.done():
            return  # it is being closed, or the client has disconnected
        self.ending = ending
        self.waiting.clear()
        self.roomy.set()
        self.sending.cancel()

    def check(self) -> None:
        """Gives up a reader that has taken nothing for STALL_SECONDS. Call it at regular intervals."""
        if self.sending_since is not None and time.monotonic() - self.sending_since > STALL_SECONDS:
            self.give_up(TOO_SLOW)

    async def run(self) -> None:
        try:
            await asyncio.wait([self.sending])
        finally:
            self.sending.cancel()
            self.roomy.set()
        if self.sending.cancelled() or self.sending.result():
            with contextlib.suppress(OSError, RuntimeError, TimeoutError):
                await self.close()

    async def send_waiting(self) -> bool:
        """Sends waiting frames until there is an ending; returns whether the socket still has to be closed."""
        try:
            await self.drain()
        except (OSError, RuntimeError):  # from uvicorn: the client has disconnected, or the socket is closed
            return False
        except Exception:  # close the socket, because an open one must not stay silent
            logger.exception("A frame could not be sent")
            self.ending = UNAVAILABLE
        return True

    async def drain(self) -> None:
        while True:
            while self.waiting:
                frame = self.waiting.popleft()
                self.sending_since = time.monotonic()
                await self.send({"type": "websocket.send", "text": frame})
                self.size -= len(frame)
                if self.size <= ROOM:
                    self.roomy.set()
            self.sending_since = None
            if self.ending is not None:
                return
            self.changed.clear()
            await self.changed.wait()

    async def close(self) -> None:
        assert self.ending is not None
        frame = frames.error(self.ending.code, self.ending.detail)
        with contextlib.suppress(TimeoutError):  # from a reader that does not read; the close below works all the same
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.send({"type": "websocket.send", "text": frame})
        async with asyncio.timeout(CLOSE_SECONDS):
            await self.send({"type": "websocket.close", "code": self.ending.close_code, "reason": self.ending.code})

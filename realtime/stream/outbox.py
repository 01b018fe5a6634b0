"""What waits to be sent on one socket: bounded, and given up when its reader is too slow."""

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

# Characters that may wait. A frame is one string for all who wait for it, so a thousand slow readers cost little more.
WAITING_MAX = 1024 * 1024
# A replay goes on when no more than this waits.
ROOM = 256 * 1024
# A reader that has taken in nothing for so long, while something waits for it, is too slow.
STALL_SECONDS = 10.0
# How long the error frame may take, and then the close: together with `revocations.LOOK_SECONDS` less than a second.
CLOSE_SECONDS = 0.4


class Outbox:
    """`put` never waits; what waits is sent in order until there is an ending.

    `task` ends when the socket is closed or its reader is gone. Only `sending` is cancelled to give a reader up: a
    task that goes on after its own cancellation has no working `asyncio.timeout` on Python before 3.11.3 (gh-102780).
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
        """Waits until little enough is waiting to be sent, or the end."""
        await self.roomy.wait()

    def end(self, ending: Ending) -> None:
        """Closes the socket behind what waits, for which its reader has STALL_SECONDS."""
        if self.ending is None:
            self.ending = ending
            self.changed.set()
            self.roomy.set()
            asyncio.get_running_loop().call_later(STALL_SECONDS, self.give_up, ending)

    def give_up(self, ending: Ending) -> None:
        """Closes the socket without what waits, also one that was to be closed behind it."""
        if self.sending.done():
            return  # it is being closed, or its reader is gone
        self.ending = ending
        self.waiting.clear()
        self.roomy.set()
        self.sending.cancel()

    def check(self) -> None:
        """To be called now and then: gives a reader up that takes nothing in."""
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
        """Sends what waits until there is an ending; returns whether the socket is still to be closed."""
        try:
            await self.drain()
        except (OSError, RuntimeError):  # uvicorn's: the client is gone, or was closed already
            return False
        except Exception:  # a server that cannot send this must not leave a silent socket behind
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
        with contextlib.suppress(TimeoutError):  # of a reader that is stuck; the servers take a close all the same
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.send({"type": "websocket.send", "text": frame})
        async with asyncio.timeout(CLOSE_SECONDS):
            await self.send({"type": "websocket.close", "code": self.ending.close_code, "reason": self.ending.code})

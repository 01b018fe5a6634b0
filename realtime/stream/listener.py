"""This process's ear: one subscription to the channel layer, however many sockets there are."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

# Between two tries of a layer that is away.
RETRY_SECONDS = 1.0
# A socket that subscribes waits no longer for a layer that hangs: it is served from the database until it is back.
JOIN_SECONDS = 2.0


class Listener:
    """Hears what is sent to the groups in `wanted`; `hear` is given each message."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear
        self.layer = get_channel_layer()
        self.wanted: set[str] = set()
        self.joined: set[str] = set()
        self.channel: str | None = None
        self.changing = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None

    async def join(self, group: str) -> None:
        """Hears the group from now on, or as soon as the layer is there."""
        self.wanted.add(group)
        await self.reconcile()

    def keep(self, group: str) -> None:
        """Has the group joined again at the next `reconcile`, should it have been left since `join`."""
        self.wanted.add(group)

    def leave(self, group: str) -> None:
        """Has the group left at the next `reconcile`."""
        self.wanted.discard(group)

    async def reconcile(self) -> None:
        """Joins and leaves what has to be; what fails is tried again the next time."""
        if self.wanted == self.joined:
            return
        try:
            async with asyncio.timeout(JOIN_SECONDS), self.changing:
                if self.channel is None:
                    self.channel = await self.layer.new_channel()
                    self.task = asyncio.create_task(self.listen(self.channel))
                for group in self.wanted - self.joined:
                    await self.layer.group_add(group, self.channel)
                    self.joined.add(group)
                for group in self.joined - self.wanted:
                    await self.layer.group_discard(group, self.channel)
                    self.joined.discard(group)
        except Exception as error:  # whatever the layer raises, it is the layer that is away
            logger.debug("The channel layer is away (%r)", error)

    async def listen(self, channel: str) -> None:
        while True:
            try:
                self.hear(await self.layer.receive(channel))
            except Exception:
                logger.exception("A message of the channel layer could not be taken; positions will show what it was")
                await asyncio.sleep(RETRY_SECONDS)

    async def rest(self) -> None:
        """Gives the channel up where nothing is wanted."""
        await self.reconcile()
        async with self.changing:
            if self.wanted or self.joined or self.task is None:
                return
            task, self.task, self.channel = self.task, None, None
            task.cancel()
            # Not `await task`: that raises CancelledError for the other task's end as for the end of this one.
            await asyncio.wait([task])

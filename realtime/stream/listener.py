"""One subscription to the channel layer for the whole process, for any number of sockets."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import get_channel_layer

logger = logging.getLogger(__name__)

# Seconds between two attempts on a channel layer that does not answer.
RETRY_SECONDS = 1.0
# Seconds that a new socket waits for the channel layer; after that it is served from the database.
JOIN_SECONDS = 2.0


class Listener:
    """Receives the messages of the groups in `wanted` and passes each to `hear`."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear
        self.layer = get_channel_layer()
        self.wanted: set[str] = set()
        self.joined: set[str] = set()
        self.channel: str | None = None
        self.changing = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None

    async def join(self, group: str) -> None:
        """Joins the group now, or, if the layer does not answer, as soon as it does."""
        self.wanted.add(group)
        await self.reconcile()

    def keep(self, group: str) -> None:
        """Makes the next `reconcile` join the group again, if it was left after `join`."""
        self.wanted.add(group)

    def leave(self, group: str) -> None:
        """Makes the next `reconcile` leave the group."""
        self.wanted.discard(group)

    async def reconcile(self) -> None:
        """Joins the wanted groups and leaves the others, within JOIN_SECONDS; the next call retries what fails."""
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
        except Exception as error:  # each layer raises exceptions of its own
            logger.debug("The channel layer does not answer (%r)", error)

    async def listen(self, channel: str) -> None:
        while True:
            try:
                self.hear(await self.layer.receive(channel))
            except Exception:
                logger.exception("A channel-layer message failed: the next check reads its readings again")
                await asyncio.sleep(RETRY_SECONDS)

    async def rest(self) -> None:
        """Gives up the channel if no group is wanted."""
        await self.reconcile()
        async with self.changing:
            if self.wanted or self.joined or self.task is None:
                return
            task, self.task, self.channel = self.task, None, None
            task.cancel()
            # Do not `await task`: it raises CancelledError both when that task ends and when this one is cancelled.
            await asyncio.wait([task])

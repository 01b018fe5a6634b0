"""One subscription to the channel layer for the whole process, for any number of sockets."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Any

from channels.layers import get_channel_layer

from realtime.protocol.groups import by_server

logger = logging.getLogger(__name__)

# Seconds between two attempts on a channel layer that does not answer.
RETRY_SECONDS = 1.0
# Seconds that a new socket waits for the channel layer; after that it is served from the database.
JOIN_SECONDS = 2.0
# How often in that time to try another channel, if the server of the one before does not answer.
CHANNEL_TRIES = 5


class Listener:
    """Receives the messages of the groups in `wanted` and passes each to `hear`."""

    def __init__(self, hear: Callable[[dict[str, Any]], None]) -> None:
        self.hear = hear
        self.layer = get_channel_layer()
        self.wanted: set[str] = set()
        self.joined: set[str] = set()
        self.channel: str | None = None
        self.changing = asyncio.Lock()
        self.servers: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # of the layer
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
        """Joins the wanted groups and leaves the others; the next call retries what fails.

        Takes at most 2 × JOIN_SECONDS. A server of the layer that does not answer delays only its own groups.
        """
        if self.wanted == self.joined:
            return
        try:
            async with asyncio.timeout(JOIN_SECONDS), self.changing:
                await self.open()
        except Exception as error:  # each layer raises exceptions of its own
            logger.debug("The channel layer does not answer (%r)", error)
            return
        servers = by_server(self.layer, self.wanted ^ self.joined)
        await asyncio.gather(*(self.change(server, groups) for server, groups in servers.items()))

    async def open(self) -> None:
        """Makes the channel on which this process receives, if there is none."""
        while self.channel is None:
            with contextlib.suppress(TimeoutError):
                # Its name decides which server has it, so another one may be on a server that answers.
                async with asyncio.timeout(JOIN_SECONDS / CHANNEL_TRIES):
                    self.channel = await self.layer.new_channel()
                    self.task = asyncio.create_task(self.listen(self.channel))

    async def change(self, server: int, groups: Collection[str]) -> None:
        """Joins or leaves these groups, which are on this server, as they are wanted now."""
        try:
            async with asyncio.timeout(JOIN_SECONDS), self.servers[server]:
                for group in groups:
                    if self.channel is None:
                        return  # `rest` came first
                    if group in self.wanted and group not in self.joined:
                        await self.layer.group_add(group, self.channel)
                        self.joined.add(group)
                    elif group in self.joined and group not in self.wanted:
                        await self.layer.group_discard(group, self.channel)
                        self.joined.discard(group)
        except Exception as error:  # each layer raises exceptions of its own
            logger.debug("Server %s of the channel layer does not answer (%r)", server + 1, error)

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
        async with contextlib.AsyncExitStack() as held:
            for lock in [self.changing, *self.servers.values()]:
                await held.enter_async_context(lock)
            if self.wanted or self.joined or self.task is None:
                return
            task, self.task, self.channel = self.task, None, None
            task.cancel()
            # Do not `await task`: it raises CancelledError both when that task ends and when this one is cancelled.
            await asyncio.wait([task])

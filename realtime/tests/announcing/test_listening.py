"""Start and end of a process's subscription to the channel layer."""

import asyncio

import pytest

from realtime.stream.listener import Listener
from realtime.tests.sockets import in_a_loop


@in_a_loop
async def test_a_task_that_is_cancelled_while_it_ends_the_listening_is_cancelled(monkeypatch):
    """It waits for another task's cancellation, which must not be mistaken for its own."""
    leaving, may_leave = asyncio.Event(), asyncio.Event()

    async def receive(channel: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await may_leave.wait()  # as with a slow Redis

    listener = Listener(lambda message: None)
    monkeypatch.setattr(listener.layer, "receive", receive)
    await listener.join("group")
    listener.leave("group")
    resting = asyncio.create_task(listener.rest())
    await leaving.wait()
    resting.cancel()
    await asyncio.wait([resting], timeout=1)
    may_leave.set()
    with pytest.raises(asyncio.CancelledError):
        await resting

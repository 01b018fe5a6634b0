"""This process's subscription to the channel layer, as it begins and ends."""

import asyncio

import pytest

from realtime.stream.listener import Listener
from realtime.tests.sockets import in_a_loop


@in_a_loop
async def test_a_task_that_is_cancelled_while_it_ends_the_listening_is_cancelled(monkeypatch):
    """The end that it waits for is a cancellation too, which is not to be taken for its own."""
    leaving, may_leave = asyncio.Event(), asyncio.Event()

    async def receive(channel: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await may_leave.wait()  # as Redis may take its time

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

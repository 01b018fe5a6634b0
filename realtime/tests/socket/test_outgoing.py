"""The outbox of a socket: ordered, bounded, and given up if its reader takes nothing."""

import asyncio
from typing import Any

from realtime.protocol.endings import Ending
from realtime.stream import outbox
from realtime.stream.outbox import Outbox
from realtime.tests.sockets import in_a_loop

BYE = Ending(4499, "bye", "Enough.")


class Reader:
    """A client that takes every message or, with `stuck`, only a close, as our servers do for a stuck reader."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.stuck = stuck
        self.taken: list[Any] = []

    async def __call__(self, message: dict[str, Any]) -> None:
        if self.stuck and message["type"] != "websocket.close":
            await asyncio.Event().wait()
        self.taken.append(message.get("text", message.get("code")))


@in_a_loop
async def test_what_is_put_is_sent_in_order_and_the_end_comes_last():
    reader = Reader()
    queue = Outbox(reader)
    for frame in ("one", "two", "three"):
        queue.put(frame)
    queue.end(BYE)
    queue.put("too late")
    await queue.task
    assert reader.taken[:3] == ["one", "two", "three"]
    assert reader.taken[4:] == [4499]
    assert "bye" in reader.taken[3]


@in_a_loop
async def test_what_waits_for_a_stuck_reader_is_bounded_and_the_reader_is_closed_with_1013(monkeypatch):
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.05)
    reader = Reader(stuck=True)
    queue = Outbox(reader)
    most = 0
    for _ in range(100):
        queue.put("x" * (outbox.WAITING_MAX // 10))
        await asyncio.sleep(0)
        most = max(most, sum(map(len, queue.waiting)))
    await queue.task
    assert most <= outbox.WAITING_MAX
    assert reader.taken == [1013]
    assert not queue.waiting


@in_a_loop
async def test_a_reader_that_takes_nothing_in_for_too_long_is_closed(monkeypatch):
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "STALL_SECONDS", 0.05)
    reader = Reader(stuck=True)
    queue = Outbox(reader)
    queue.put("one")
    await asyncio.sleep(0.1)
    queue.check()
    await queue.task
    assert reader.taken == [1013]


@in_a_loop
async def test_a_frame_that_no_server_takes_closes_the_socket(caplog):
    async def send(message: dict[str, Any]) -> None:
        if message.get("text") == "huge":
            raise ValueError("too big for me")
        taken.append(message)

    taken: list[dict[str, Any]] = []
    queue = Outbox(send)
    queue.put("huge")
    await queue.task
    assert taken[-1]["code"] == 1013
    assert "could not be sent" in caplog.text


@in_a_loop
async def test_who_is_given_up_is_closed_by_a_task_that_was_not_cancelled(monkeypatch):
    """Otherwise `asyncio.timeout` does not work in that task on Python 3.11.2, the version of Debian 12."""
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.05)
    cancellations = []

    class Witness(Reader):
        async def __call__(self, message: dict[str, Any]) -> None:
            if message["type"] == "websocket.close":
                task = asyncio.current_task()
                assert task is not None
                cancellations.append(task.cancelling())
            await super().__call__(message)

    queue = Outbox(Witness(stuck=True))
    queue.put("one")
    await asyncio.sleep(0)
    queue.give_up(BYE)
    await queue.task
    assert cancellations == [0]


@in_a_loop
async def test_who_is_given_up_before_anything_was_sent_is_closed(monkeypatch):
    reader = Reader()
    queue = Outbox(reader)
    queue.put("one")
    queue.give_up(BYE)
    await queue.task
    assert len(reader.taken) == 2
    assert "bye" in reader.taken[0]
    assert reader.taken[1] == 4499


@in_a_loop
async def test_who_is_cancelled_sends_nothing_more():
    reader = Reader(stuck=True)
    queue = Outbox(reader)
    queue.put("one")
    await asyncio.sleep(0)
    queue.task.cancel()
    await asyncio.wait([queue.task, queue.sending])
    assert queue.task.cancelled()
    assert queue.sending.cancelled()
    assert reader.taken == []


@in_a_loop
async def test_who_is_to_be_closed_behind_what_waits_can_still_be_given_up(monkeypatch):
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.05)
    reader = Reader(stuck=True)
    queue = Outbox(reader)
    queue.put("one")
    queue.end(BYE)
    await asyncio.sleep(0)
    queue.give_up(Ending(4401, "revoked", "No more."))
    await queue.task
    assert reader.taken == [4401]


@in_a_loop
async def test_a_close_behind_what_waits_waits_for_no_stuck_reader(monkeypatch):
    monkeypatch.setattr(outbox, "CLOSE_SECONDS", 0.05)
    monkeypatch.setattr(outbox, "STALL_SECONDS", 0.05)
    reader = Reader(stuck=True)
    queue = Outbox(reader)
    queue.put("one")
    queue.end(BYE)
    await asyncio.wait_for(queue.task, 1)
    assert reader.taken == [4499]

"""Database work of an event loop: its deadline, its limits, and the replacement of a thread that hangs."""

import asyncio
import threading
import time
from typing import Any

import pytest
from django.db import connection as default_connection

from devices.database import runner as runner_module
from devices.database.runner import DatabaseRunner, RunnerBusy
from devices.database.work_kinds import DatabaseTimeout, NotBegun, Work, current_work
from devices.models import Device

connection: Any = default_connection


def runner(**changes):
    options: dict[str, Any] = {"work": Work.INGEST, "threads": 1, "seconds": 5.0, "waiting_max": 10}
    return DatabaseRunner("test", **options | changes)


@pytest.fixture
def hanging():
    """A function that returns only after the test, and an event that is set when it is called."""
    called, released = threading.Event(), threading.Event()

    def hang():
        called.set()
        released.wait(30)

    yield hang, called
    released.set()


async def until(condition):
    """Polls a condition, because threads do not notify the event loop."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def test_it_gives_the_outcome():
    assert asyncio.run(runner().run(lambda a, *, b: a + b, 1, b=2)) == 3


def test_it_raises_what_the_function_raises():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        asyncio.run(runner().run(fail))


def test_the_thread_works_at_what_the_runner_is_for():
    assert asyncio.run(runner(work=Work.LIVE).run(current_work.get)) is Work.LIVE


def test_who_waits_too_long_is_told_and_the_next_is_served(hanging, monkeypatch):
    hang, called = hanging
    monkeypatch.setattr(runner_module, "GRACE_SECONDS", 0.05)
    slow = runner(seconds=0.1)

    async def story():
        with pytest.raises(DatabaseTimeout, match=r"0\.1 s"):
            await slow.run(hang)
        await until(lambda: slow.lost)
        return await slow.run(lambda: "served")

    assert asyncio.run(story()) == "served"
    assert called.is_set()


def test_a_thread_that_comes_back_after_all_ends(monkeypatch):
    monkeypatch.setattr(runner_module, "GRACE_SECONDS", 0.0)
    released = threading.Event()
    slow = runner(seconds=0.05)

    async def story():
        with pytest.raises(DatabaseTimeout):
            await slow.run(released.wait, 30)
        await until(lambda: slow.lost)
        released.set()
        await until(lambda: not slow.lost)

    asyncio.run(story())

    assert not slow.workers


def test_no_more_waits_than_may(hanging):
    hang, called = hanging
    small = runner(seconds=0.5, waiting_max=2)

    async def story():
        first = asyncio.create_task(small.run(hang))
        await asyncio.to_thread(called.wait, 5)
        waiting = [asyncio.create_task(small.run(time.monotonic)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(RunnerBusy, match="2 jobs"):
            await small.run(time.monotonic)
        return await asyncio.gather(first, *waiting, return_exceptions=True)

    assert {type(outcome) for outcome in asyncio.run(story())} == {DatabaseTimeout, NotBegun}


def test_with_many_threads_lost_it_takes_no_more(hanging, monkeypatch):
    hang, _ = hanging
    monkeypatch.setattr(runner_module, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr(runner_module, "LOST_MAX", 2)
    hopeless = runner(seconds=0.05)

    async def story():
        for lost in range(2):
            with pytest.raises(DatabaseTimeout):
                await hopeless.run(hang)
            await until(lambda lost=lost: hopeless.lost > lost)
        with pytest.raises(RunnerBusy):
            await hopeless.run(time.monotonic)

    asyncio.run(story())


def test_what_nobody_waits_for_any_more_is_not_begun(hanging):
    hang, called = hanging
    begun: list[str] = []
    one = runner(seconds=1.0)

    async def story():
        first = asyncio.create_task(one.run(hang))
        await asyncio.to_thread(called.wait, 5)
        second = asyncio.create_task(one.run(begun.append, "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)

    asyncio.run(story())

    assert begun == []


def test_a_deadline_that_passes_before_the_work_begins_says_so(hanging):
    hang, called = hanging
    one = runner(seconds=0.2)

    async def story():
        first = asyncio.create_task(one.run(hang))
        await asyncio.to_thread(called.wait, 5)
        return await asyncio.gather(first, one.run(time.monotonic), return_exceptions=True)

    first, second = asyncio.run(story())

    assert type(first) is DatabaseTimeout
    assert type(second) is NotBegun


def test_what_its_callers_gave_up_takes_no_place(hanging):
    hang, called = hanging
    one = runner(seconds=1.0, waiting_max=1)

    async def story():
        first = asyncio.create_task(one.run(hang))
        await asyncio.to_thread(called.wait, 5)
        for _ in range(3):
            waiting = asyncio.create_task(one.run(time.monotonic))
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        first.cancel()

    asyncio.run(story())


def test_several_run_beside_each_other_but_no_more_than_its_threads():
    met = threading.Barrier(3)
    three = runner(threads=3)

    async def story():
        await asyncio.gather(*(three.run(met.wait, 5) for _ in range(3)))
        return len(three.workers)

    assert asyncio.run(story()) == 3


@pytest.mark.django_db(transaction=True)
def test_an_idle_thread_gives_its_connection_back_and_ends(monkeypatch):
    monkeypatch.setattr(runner_module, "IDLE_SECONDS", 0.05)
    idle = runner()

    async def story():
        await idle.run(Device.objects.count)
        await until(lambda: not idle.workers)

    asyncio.run(story())

    if connection.vendor == "postgresql":
        statistics = connection.pools[connection.alias, Work.INGEST].get_stats
        # Threads of an earlier test may still hold their connections.
        asyncio.run(until(lambda: statistics()["pool_available"] == statistics()["pool_size"]))

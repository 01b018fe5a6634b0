"""Which callers get a place for a question, and which wait."""

import asyncio

import pytest

from telemetry.gateway import request_slots
from telemetry.gateway.request_slots import WAITING_PER_CALLER, NoPlace, Places

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch):
    monkeypatch.setattr(request_slots, "WAIT_SECONDS", 0.05)


def taken(shared, caller):
    """The number of places that the caller gets at once."""
    count = 0
    while shared.may_take(caller):
        shared.grant(caller)
        count += 1
    return count


def never():
    return asyncio.get_running_loop().create_future()


def test_a_caller_gets_no_more_than_its_own_bound():
    assert taken(Places(total=10, per_caller=4), "greedy") == 4


def test_three_greedy_callers_leave_a_place_for_a_fourth():
    shared = Places(total=10, per_caller=4)

    assert [taken(shared, caller) for caller in ("a", "b", "c")] == [4, 3, 2]
    assert taken(shared, "fourth") == 1


def test_a_bound_as_large_as_all_places_leaves_half_of_them():
    assert taken(Places(total=10, per_caller=10), "greedy") == 5


def test_one_too_many_waits_and_gets_the_place_that_is_released():
    async def story():
        shared = Places(total=10, per_caller=1)
        shared.grant("a")
        waiting = asyncio.create_task(shared.take("a", unless=never()))
        await asyncio.sleep(0)
        assert not waiting.done()
        shared.release("a")
        assert await waiting
        assert shared.free == 9

    asyncio.run(story())


@pytest.mark.parametrize("per_caller", [1, 5])
def test_one_that_waits_too_long_is_refused(per_caller):
    async def story():
        shared = Places(total=2, per_caller=per_caller)
        shared.grant("a")
        with pytest.raises(NoPlace) as refusal:
            await shared.take("a", unless=never())
        assert refusal.value.of_caller is (per_caller == 1)
        assert (shared.free, shared.waiting) == (1, [])

    asyncio.run(story())


def test_the_caller_with_fewest_places_is_next():
    async def story():
        shared = Places(total=3, per_caller=3)
        for caller in ("a", "a", "b"):
            shared.grant(caller)
        order = []

        async def ask(caller):
            await shared.take(caller, unless=never())
            order.append(caller)

        waiting = [asyncio.create_task(ask(caller)) for caller in ("a", "b", "new")]
        await asyncio.sleep(0)
        shared.release("a")
        await asyncio.sleep(0.01)
        assert order == ["new"]
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(story())


def test_no_more_wait_than_may():
    async def story():
        shared = Places(total=10, per_caller=1)
        shared.grant("a")
        waiting = [asyncio.create_task(shared.take("a", unless=never())) for _ in range(WAITING_PER_CALLER)]
        await asyncio.sleep(0)
        with pytest.raises(NoPlace):
            await asyncio.wait_for(shared.take("a", unless=never()), 0.01)
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(story())


@pytest.mark.parametrize("how", ["the client leaves", "cancelled", "cancelled as it is granted"])
def test_one_that_gives_up_waiting_holds_nothing(how):
    async def story():
        shared = Places(total=10, per_caller=1)
        shared.grant("a")
        gone = never()
        waiting = asyncio.create_task(shared.take("a", unless=gone))
        await asyncio.sleep(0)
        if how == "the client leaves":
            gone.set_result(None)
            assert await waiting is False
        else:
            if how == "cancelled as it is granted":
                shared.release("a")
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert shared.waiting == []
        assert shared.free + sum(shared.held.values()) == 10

    asyncio.run(story())

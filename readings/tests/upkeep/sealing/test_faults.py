"""A failure between any two statements of sealing, unsealing and retention leaves each reading once."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from readings.models import Segment
from readings.tests.logs import at, new, state_of, store
from readings.tests.upkeep.sealing.logs import (
    YEARS_LATER,
    days,
    known_ids,
    roll_all_up,
    rows_of,
    seal_all,
    seal_up_to,
    stored,
)
from readings.upkeep import retention
from readings.upkeep.sealing import marks, seal, stored_segments
from readings.upkeep.sealing.unseal import unseal_last
from readings.upkeep.verification.log import verify

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Not an Exception, so that nothing handles it."""


@contextmanager
def killed_after(statements: int) -> Iterator[list[str]]:
    """Raises Killed in place of the statement after this many others. Yields those that were executed."""
    executed: list[str] = []

    def wrapper(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        if len(executed) == statements:
            raise Killed
        executed.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield executed


def at_every_statement(work: Callable[[], object], check: Callable[[], None]) -> list[str]:
    """Repeats the work, each time killed one statement later, until it ends; returns the longest run of statements."""
    longest: list[str] = []
    for statements in range(500):
        try:
            with killed_after(statements) as executed:
                work()
        except Killed:
            check()
        else:
            check()
            return longest
        longest = max(longest, executed, key=len)
    raise AssertionError("it never ends")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(stored_segments, "SEGMENT_READINGS_MAX", 100)
    monkeypatch.setattr(seal, "SEGMENT_READINGS_MAX", 100)


def post(first: int, last: int) -> None:
    times = (at(60 * n - (9 * 86_400 if n % 13 == 0 else 0)) for n in range(first, last))
    store(new(timestamp=when, id=uuid4(), temperature=n / 7) for n, when in enumerate(times))


def check_against(expected: list[str]) -> None:
    assert stored() == expected
    sealed_seq = state_of().sealed_seq
    assert set(known_ids().values()) == set(range(1, sealed_seq + 1))
    assert list(verify("mote-1")) == []


def test_sealing_is_done_as_a_whole_or_not_at_all(device):
    post(0, 300)
    seal_all()
    post(300, 650)
    expected = stored()
    roll_all_up()
    marks.note(now=YEARS_LATER + days(1))

    def check() -> None:
        assert state_of().sealed_seq in (300, 650)
        check_against(expected)

    executed = at_every_statement(lambda: seal_up_to(YEARS_LATER + days(1)), check)
    assert rows_of() == []
    assert len(executed) >= 10
    changes = [sql.split()[0] for sql in executed]
    assert changes.index("INSERT") < changes.index("UPDATE"), "the state is locked and changed at the end"


def test_unsealing_is_done_step_by_step(device):
    post(0, 300)
    expected = stored()
    seal_all()

    def work() -> None:
        while unseal_last("mote-1"):
            pass

    at_every_statement(work, lambda: check_against(expected))
    assert len(rows_of()) == 300
    assert not Segment.objects.exists()


def test_retention_is_done_step_by_step(device, settings):
    post(0, 300)
    roll_all_up()
    seal_all()
    before = {seq_in(text): text for text in stored()}
    settings.RETENTION_DAYS = 9
    # A pass that was ended goes on when the border has moved.
    hours = (at(100 * 60 + 3600 * n) + days(9) for n in count())
    gone: set[int] = set()

    def check() -> None:
        left = {seq_in(text): text for text in stored()}
        assert left.items() <= before.items()
        assert set(known_ids().values()) == left.keys()
        gone.update(before.keys() - left.keys())
        assert not gone & left.keys()
        assert list(verify("mote-1")) == []

    def work() -> None:
        sum(retention.expire(now=next(hours)))

    at_every_statement(work, check)
    assert 200 < len(gone) < 300


def seq_in(text: str) -> int:
    return int(text.split("seq=")[1].split(",")[0])


def test_nothing_is_decoded_or_encoded_while_a_transaction_keeps_others_waiting(device, settings, monkeypatch):
    for name in ("decode", "encode"):
        work = getattr(stored_segments, name)

        def outside_of_transactions(*arguments: Any, work: Any = work, **options: Any) -> Any:
            assert not connection.in_atomic_block
            return work(*arguments, **options)

        monkeypatch.setattr(stored_segments, name, outside_of_transactions)
    post(0, 300)
    seal_all()
    settings.RETENTION_DAYS = 1
    assert sum(retention.expire(now=at(200 * 60) + days(3))) > 200
    post(300, 350)
    seal_all(now=YEARS_LATER + days(9))
    while unseal_last("mote-1"):
        pass
    assert not Segment.objects.exists()

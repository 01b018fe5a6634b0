"""Marks of receipt, and the end of the ids that are noted beside segments."""

from datetime import timedelta
from itertools import count
from uuid import uuid4

import pytest
from django.db import OperationalError

from readings.models import ReceiptMark
from readings.tests.logs import NOON, at, new, state_of, store
from readings.tests.upkeep.sealing.logs import days, known_ids, marks_of, roll_all_up, seal_all, seal_up_to
from readings.upkeep import maintenance
from readings.upkeep.clock import Uptime
from readings.upkeep.maintenance import maintain
from readings.upkeep.sealing import known_ids as ids
from readings.upkeep.sealing import marks
from readings.upkeep.sealing.marks import INTERVAL, WAIT

pytestmark = pytest.mark.django_db(transaction=True)


def post(count: int = 1, *, seconds: float = 0) -> None:
    store(new(timestamp=at(seconds + n), id=uuid4()) for n in range(count))


def test_a_log_is_noted_once_a_day_while_it_grows(device, other_device):
    assert marks.note(now=NOON) == 0
    post()
    assert marks.note(now=NOON) == 1
    post()
    assert marks.note(now=NOON + INTERVAL - timedelta(seconds=1)) == 0
    assert marks.note(now=NOON + INTERVAL) == 1
    assert marks.note(now=NOON + 2 * INTERVAL) == 0
    assert marks_of() == [(NOON, 1), (NOON + INTERVAL, 2)]


def test_half_of_the_days_if_that_is_less_than_a_day(device, settings):
    settings.SEAL_AFTER_DAYS = 0.5
    post()
    assert marks.note(now=NOON) == 1
    post()
    assert marks.note(now=NOON + days(0.24)) == 0
    assert marks.note(now=NOON + days(0.25)) == 1


def test_marks_of_a_wrong_clock_are_deleted(device):
    post()
    marks.note(now=NOON + days(400))
    assert marks.note(now=NOON) == 1
    assert marks_of() == [(NOON, 1)]


def test_a_clock_that_was_set_back_makes_no_new_reading_old(device):
    """A machine without a clock of its own begins in the past, until it hears from a time server."""

    def round_at(now, *, boot, uptime):
        maintain(now=now, uptime=Uptime(boot, uptime), retention=False)

    round_at(NOON, boot="1", uptime=100.0)
    post(300)
    round_at(NOON + timedelta(hours=1), boot="1", uptime=3700.0)
    noted = marks_of()
    round_at(NOON - days(200), boot="2", uptime=5.0)
    assert marks_of() == noted

    post(300, seconds=3600)
    round_at(NOON - days(200) + timedelta(minutes=1), boot="2", uptime=65.0)
    round_at(NOON + days(1.1), boot="2", uptime=125.0)
    assert state_of().sealed_seq == 0
    assert all(noted_at >= NOON for noted_at, _ in marks_of())


@pytest.mark.parametrize("wrong", [-200, 200])
def test_a_clock_that_was_wrong_for_days_makes_no_new_reading_old(device, wrong):
    """Retention trusts it after a day. What was noted by it says nothing by the clock that was set right later."""
    days_before = count()

    def rounds_of_a_day(first):
        uptime = 1.25 * next(days_before)
        for day in (0, 0.5, 1.1):
            maintain(now=first + days(day), uptime=Uptime("1", 86_400 * (uptime + day)), retention=False)

    rounds_of_a_day(NOON)
    post(300)
    rounds_of_a_day(NOON + days(1.25))
    assert marks_of()
    rounds_of_a_day(NOON + days(2.5 + wrong))
    # More than two days have passed, as the uptime says.
    assert (state_of().sealed_seq, len(known_ids())) == (300, 300)
    post(300, seconds=3600)
    rounds_of_a_day(NOON + days(3.75))
    assert (state_of().sealed_seq, len(known_ids())) == (300, 300)
    rounds_of_a_day(NOON + days(5))
    rounds_of_a_day(NOON + days(6.25))
    rounds_of_a_day(NOON + days(7.5))
    assert (state_of().sealed_seq, len(known_ids())) == (600, 600)


def test_a_machine_that_is_off_at_night_seals(device):
    """After a night the time that passed is unknown, so the trusted time follows the clock every second day."""
    for day in range(12):
        morning = NOON + days(day)
        post(300, seconds=86_400 * day)
        for hour in (0, 8, 16):
            clock, uptime = morning + timedelta(hours=hour), Uptime(f"{day}", 3600.0 * hour + 60)
            maintain(now=clock, uptime=uptime, retention=False)
    assert 300 * 4 <= state_of().sealed_seq <= 300 * 9


def test_a_round_that_fails_after_a_jump_does_not_move_the_marks_twice(device, monkeypatch):
    def round_at(day, clock):
        maintain(now=NOON + days(clock), uptime=Uptime("1", 86_400.0 * day + 60), retention=False)

    def failing(*args, **options):
        raise OperationalError("the database is away")

    round_at(0, 0)
    post(300)
    for day in (0.5, 1):
        round_at(day, day - 100)
    assert marks_of() == [(NOON + days(0.5), 300)]
    with monkeypatch.context() as patch:
        patch.setattr(maintenance, "catch_up", failing)
        with pytest.raises(OperationalError):
            round_at(1.5, -98.5)
    assert marks_of() == [(NOON + days(0.5 - 100), 300)]
    round_at(1.6, -98.4)
    assert marks_of() == [(NOON + days(0.5 - 100), 300)]
    assert state_of().sealed_seq == 0


def test_marks_keep_their_age_when_the_time_jumps(device):
    for day in range(3):
        post(seconds=day)
        marks.note(now=NOON + days(day))
    # The last one is of the clock, which was ahead of the trusted time.
    marks.follow(days(100), now=NOON + days(101.5))
    assert marks_of() == [(NOON + days(100), 1), (NOON + days(101), 2), (NOON + days(101.5), 3)]
    marks.follow(days(-100), now=NOON + days(1.75))
    assert marks_of() == [(NOON, 1), (NOON + days(1), 2), (NOON + days(1.5), 3)]


def test_marks_end_when_they_say_nothing_new(device):
    for day in range(45):
        post(300, seconds=86_400 * day)
        marks.note(now=NOON + days(day))
        roll_all_up()
        seal_up_to(NOON + days(day - 2))
        list(marks.end(now=NOON + days(day)))
    noted = [seq // 300 - 1 for _, seq in marks_of()]
    assert noted == list(range(10, 45)), "marks of the last 35 days"
    assert state_of().sealed_seq == 43 * 300


def test_the_last_mark_stays_until_all_of_it_is_sealed(device):
    post(3)
    marks.note(now=NOON)
    post(3)
    marks.note(now=NOON + days(1))
    list(marks.end(now=NOON + days(100)))
    assert marks_of() == [(NOON + days(1), 6)]
    roll_all_up()
    assert seal_up_to(NOON + days(98)) == 6
    list(marks.end(now=NOON + days(100)))
    assert marks_of() == []
    assert marks.note(now=NOON + days(101)) == 0


@pytest.mark.parametrize("after", [2, 60])
def test_marks_stay_as_long_as_sealing_needs_them(device, settings, after):
    settings.SEAL_AFTER_DAYS = after
    post(3)
    marks.note(now=NOON)
    roll_all_up()
    due = NOON + days(after) + WAIT
    list(marks.end(now=due))
    assert seal_up_to(due - days(after)) == 3


def test_ids_are_forgotten_35_days_after_their_receipt(device, monkeypatch):
    monkeypatch.setattr(ids, "CHUNK_ROWS", 70)
    post(300)
    marks.note(now=NOON)
    post(300, seconds=86_400)
    marks.note(now=NOON + days(1))
    seal_all(now=NOON + days(2))
    assert sorted(known_ids().values()) == list(range(1, 601))
    assert sum(marks.end(now=NOON + ids.IDS_KEPT - timedelta(seconds=1))) == 0
    assert list(marks.end(now=NOON + ids.IDS_KEPT)) == [70, 70, 70, 70, 20]
    assert sorted(known_ids().values()) == list(range(301, 601))
    assert sum(marks.end(now=NOON + ids.IDS_KEPT + days(1))) == 300
    assert (known_ids(), marks_of()) == ({}, [])


def test_forgetting_can_be_interrupted(device, monkeypatch):
    monkeypatch.setattr(ids, "CHUNK_ROWS", 70)
    post(300)
    seal_all(now=NOON)
    later = NOON + ids.IDS_KEPT
    next(marks.end(now=later))
    assert len(known_ids()) == 230
    assert ReceiptMark.objects.exists()
    sum(marks.end(now=later))
    assert known_ids() == {}


def test_ids_of_readings_received_long_ago_are_not_noted(device):
    """They would be forgotten at once: after sealing was off, for example."""
    post(300)
    marks.note(now=NOON)
    post(300, seconds=86_400)
    marks.note(now=NOON + days(1))
    roll_all_up()
    assert seal_up_to(NOON + days(34), now=NOON + days(35)) == 600
    assert sorted(known_ids().values()) == list(range(301, 601))

"""Readings at hand: they save work, change no alarm, and those that bring no event may wait."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from django.db import OperationalError, connection
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.database.test_state_updates import updates, wait_for_older_snapshots
from devices.tests.examples import examples
from readings.alarms.conditions.states import IDLE, Opened
from readings.alarms.evaluation import evaluator as evaluation
from readings.alarms.evaluation import outcomes, positions, received, received_log, silences, steps
from readings.alarms.evaluation.evaluator import Evaluator
from readings.alarms.evaluation.judging import judge
from readings.alarms.evaluation.received import Received
from readings.alarms.models import Alarm, EvaluationState, Reception
from readings.alarms.parameters import condition_of
from readings.alarms.rules.changing import change_rule
from readings.alarms.tests.rules import evaluate, make_rule
from readings.alarms.tests.test_conditions import series
from readings.alarms.tests.test_evaluation import RULES, fail_with, hot, times
from readings.signals import readings_recorded
from readings.tests.logs import at, new, state_of, store
from readings.upkeep.erasure import erase

pytestmark = pytest.mark.django_db

numbers = itertools.count()


@contextmanager
def receiving(store: Received) -> Iterator[None]:
    """Readings that are stored in the block are received."""

    def note(*, appended: Any, **_: Any) -> None:
        store.note(appended)

    readings_recorded.connect(note)
    try:
        yield
    finally:
        readings_recorded.disconnect(note)


class Clock:
    """`time.monotonic` of the evaluator."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(evaluation, "time", clock)
    return clock


@pytest.fixture
def receiver(clock):
    """An evaluator that receives what is stored."""
    evaluator = Evaluator(Received())
    assert evaluator.received is not None
    with receiving(evaluator.received):
        yield evaluator


def refuse_to_read(monkeypatch):
    monkeypatch.setattr(steps, "read_series", fail_with(AssertionError("the log is read")))


def judged_parts(monkeypatch):
    """Position and end of each part that is judged, whether or not that is stored."""
    parts = list[tuple[int, int]]()
    judge_device = steps.judge_device

    def judge(rules, part, *arguments, **given):
        parts.append((part.after, part.until))
        return judge_device(rules, part, *arguments, **given)

    monkeypatch.setattr(steps, "judge_device", judge)
    return parts


def stored(rule):
    found = []
    for began_at, opened_at, resolved_at, value, _ in times(rule=rule):
        found += [("opened", began_at, opened_at, value)] + ([("resolved", resolved_at)] if resolved_at else [])
    return sorted(found)


def expected(events):
    return sorted(
        ("opened", event.began_at, event.opened_at, event.value)
        if isinstance(event, Opened)
        else ("resolved", event.resolved_at)
        for event in events
    )


METRICS = st.sampled_from(["temperature", "voltage", "x"])


def reading_of(device_id, sample, metric):
    values = {"extra": {"x": sample.value}} if metric == "x" else {metric: sample.value}
    return new(device_id, sample.at, **values)


@st.composite
def limits(draw):
    """How many readings wait, in which form, and how many are looked at again and again."""
    chosen = {
        "FULL_READINGS": draw(st.sampled_from([0, 7, 1_000])),
        "ROWS": draw(st.sampled_from([0, 3, 1_000])),
        "LOOK_READINGS": draw(st.sampled_from([0, 4, 32])),
    }

    @contextmanager
    def limited() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patched:
            for name, value in chosen.items():
                patched.setattr(received, name, value)
            yield

    return limited


@given(
    RULES,
    series(),
    st.lists(st.integers(1, 5), min_size=50, max_size=50),
    st.lists(
        st.sampled_from(["none", "here", "here", "here", "there", "new", "killed", "changed"]), min_size=50, max_size=50
    ),
    st.lists(st.sampled_from([True, True, True, False]), min_size=50, max_size=50),
    limits(),
    METRICS,
)
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(5, of=20), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_loss_and_process_give_the_alarms_of_the_series(
    db, given_rule, values, sizes, evaluations, arrives, limited, metric
):
    """Some batches are stored by another process, some evaluations are made by one, and this one is killed."""
    here, there = Evaluator(Received()), Evaluator()
    device_id = f"node-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    rule = make_rule(metric=metric, devices=(device_id,), **given_rule)
    other = make_rule("rate", metric=metric, devices=(device_id,), change=1, per=10)
    _, events = judge(condition_of(rule), IDLE, values, now=at(0))

    left = list(values)
    for size, by, arrived in zip(sizes, evaluations, arrives, strict=True):
        batch, left = left[:size], left[size:]
        assert here.received is not None
        readings = [reading_of(device_id, sample, metric) for sample in batch]
        if arrived:
            with receiving(here.received):
                store(readings)
        else:
            store(readings)
        if by == "killed":
            here = Evaluator(Received())
        elif by == "changed":
            other.refresh_from_db()
            change_rule(other, {"change": (other.change or 0) + 1}, None, now=at(0))
        elif by != "none":
            with limited():
                evaluate(at(10_000), {"here": here, "there": there}.get(by))
    evaluate(at(10_000))

    assert stored(rule) == expected(events)
    assert state_of(device_id).alarms_seq == len(values)
    for made in (rule, other):
        change_rule(made, {"is_active": False}, None, now=at(0))


@pytest.mark.slow
@given(RULES, series(), st.lists(st.integers(1, 5), min_size=50, max_size=50), limits(), METRICS)
@hypothesis.settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_reading_that_waits_has_an_event(db, given_rule, values, sizes, limited, metric):
    """After each evaluation there are the alarms of all readings until then, although most were not judged."""
    evaluator = Evaluator(Received())
    device_id = f"calm-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    rule = make_rule(metric=metric, devices=(device_id,), **given_rule)
    evaluator.evaluate(now=at(0))

    assert evaluator.received is not None
    with receiving(evaluator.received), limited():
        end = 0
        for size in sizes:
            store([reading_of(device_id, sample, metric) for sample in values[end : end + size]])
            end += size
            evaluator.evaluate(now=at(10_000))
            _, events = judge(condition_of(rule), IDLE, values[:end], now=at(0))
            assert stored(rule) == expected(events)
    change_rule(rule, {"is_active": False}, None, now=at(0))


def test_what_was_received_is_not_read_from_the_log(device, receiver, monkeypatch):
    make_rule(metric="temperature", above=30)
    make_rule(metric="co2", above=1000)
    receiver.evaluate(now=at(0))
    refuse_to_read(monkeypatch)

    store([hot(0, 20), new(timestamp=at(1), extra={"co2": 1500, "pm2_5": 3}), hot(2, 31), hot(3, 20)])
    receiver.evaluate(now=at(4))
    store([new(timestamp=at(5), humidity=40, extra={"co2": 400})])
    receiver.evaluate(now=at(6))

    assert sorted(times()) == [(at(1), at(1), at(5), 1500, 1500), (at(2), at(2), at(3), 31, 31)]
    assert state_of().alarms_seq == 5
    assert receiver.received.readings == 0


def test_readings_without_events_wait_and_are_judged_together(device, receiver, clock):
    make_rule(metric="temperature", above=30)
    make_rule("rate", metric="temperature", change=20, per=60)
    make_rule("stuck", metric="temperature", seconds=3600)
    receiver.evaluate(now=at(0))
    for second in range(11):
        store([hot(second, 20 + second % 3)])
        clock.now += 1
        assert receiver.evaluate(now=at(second)).readings == 0
    assert (state_of().alarms_seq, EvaluationState.objects.count()) == (0, 0)
    clock.now += received.WAIT_SECONDS

    assert receiver.evaluate(now=at(20)).readings == 11
    assert state_of().alarms_seq == 11


def test_readings_wait_no_longer_when_none_arrive(device, receiver, clock):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([hot(0, 20)])
    receiver.evaluate(now=at(0))
    clock.now += received.IDLE_SECONDS - 1
    assert receiver.evaluate(now=at(9)).readings == 0
    store([hot(9, 20)])
    assert receiver.evaluate(now=at(9)).readings == 0
    clock.now += received.IDLE_SECONDS

    assert receiver.evaluate(now=at(19)).readings == 2


def test_beyond_a_number_of_readings_those_that_waited_longest_wait_no_longer(
    mote, other_device, receiver, clock, monkeypatch
):
    monkeypatch.setattr(received, "FULL_READINGS", 3)
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([hot(0, 20, "mote-2"), hot(1, 20, "mote-2")])
    receiver.evaluate(now=at(1))
    clock.now += 1
    store([hot(0, 20)])
    receiver.evaluate(now=at(2))
    store([hot(3, 20)])

    receiver.evaluate(now=at(3))

    assert (state_of("mote-1").alarms_seq, state_of("mote-2").alarms_seq) == (0, 2)


def test_nothing_is_stored_of_a_few_readings_that_might_have_had_an_event(device, receiver, monkeypatch):
    make_rule(metric="temperature", above=30, for_=3600)
    receiver.evaluate(now=at(0))
    for second in range(received.LOOK_READINGS):
        store([hot(second, 31)])
        receiver.evaluate(now=at(second))
    assert (state_of().alarms_seq, EvaluationState.objects.count()) == (0, 0)
    store([hot(100, 31)])

    receiver.evaluate(now=at(100))

    assert (state_of().alarms_seq, EvaluationState.objects.count()) == (33, 1)
    store([hot(3600, 31)])
    receiver.evaluate(now=at(3600))
    assert [alarm[:2] for alarm in times()] == [(at(0), at(3600))]


@pytest.mark.parametrize(
    "reading",
    [
        {"temperature": 31.0},
        {"temperature": 9.0},
        {"temperature": 26.0},
        {"temperature": 20.0, "timestamp": at(3601)},
        {"temperature": 20.0, "timestamp": at(-60)},
        {"humidity": 50.0},
    ],
    ids=["above", "below", "fast", "stuck", "late", "another metric"],
)
def test_a_reading_that_may_have_an_event_is_judged_at_once_with_those_before(device, receiver, monkeypatch, reading):
    parts = judged_parts(monkeypatch)
    make_rule(metric="temperature", above=30, below=10)
    make_rule("rate", metric="temperature", change=5, per=60)
    make_rule("stuck", metric="temperature", seconds=3600)
    make_rule(metric="humidity", above=90)
    receiver.evaluate(now=at(0))
    store([hot(0, 20)])
    receiver.evaluate(now=at(0))
    store([hot(10, 20)])
    receiver.evaluate(now=at(10))
    assert parts == [(0, 1)]

    store([new(**{"timestamp": at(20)} | reading)])
    receiver.evaluate(now=at(4000))

    assert parts == [(0, 1), (0, 3)]


def test_values_that_wait_count_for_the_change_between_them(device, receiver):
    make_rule("rate", metric="temperature", change=5, per=600)
    receiver.evaluate(now=at(0))
    for second, temperature in enumerate((20, 22, 18, 24, 16)):
        store([hot(second, temperature)])
        receiver.evaluate(now=at(second))

    assert [alarm[1] for alarm in times()] == [at(3)]


def test_a_reading_that_arrives_during_the_step_before_counts_for_the_change(
    mote, other_device, receiver, clock, monkeypatch
):
    monkeypatch.setitem(positions.STEP_READINGS, connection.vendor, 2)
    make_rule("rate", metric="temperature", change=10, per=3600)
    receiver.evaluate(now=at(0))
    store([hot(0, 0), hot(0, 0, "mote-2")])
    receiver.evaluate(now=at(0))
    store([hot(10, 5, "mote-2"), hot(10, 0)])
    receiver.evaluate(now=at(10))
    judge_device = steps.judge_device

    def judge(rules, part, *arguments, **given):
        if part.device_id == "mote-1" and not arrived:
            arrived.append(store([hot(20, -5, "mote-2")]))
        return judge_device(rules, part, *arguments, **given)

    arrived = list[Any]()
    monkeypatch.setattr(steps, "judge_device", judge)
    clock.now += received.IDLE_SECONDS
    receiver.evaluate(now=at(20))
    assert (arrived != [], state_of("mote-2").alarms_seq) == (True, 2)

    store([hot(30, 7, "mote-2")])
    receiver.evaluate(now=at(30))
    receiver.evaluate(now=at(31))

    assert [alarm[1] for alarm in times()] == [at(30)]


def test_what_another_process_stored_is_judged_by_the_second_evaluation(mote, other_device, receiver):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    taken = receiver.received.note
    receiver.received.note = lambda appended: None
    store([hot(0)])
    receiver.received.note = taken
    store([hot(0, 20, "mote-2")])

    receiver.evaluate(now=at(1))
    receiver.evaluate(now=at(2))

    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-1"]


def elsewhere(evaluator, readings):
    """Another process stores these readings."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(evaluator.received, "note", lambda appended: None)
        store(readings)


def test_one_reading_of_another_process_is_found_among_many_of_this_one(mote, other_device, receiver, clock):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    elsewhere(receiver, [hot(0)])
    for second in range(1, 31):
        store([hot(second + n / 10, 20, "mote-2") for n in range(9)])
        clock.now += 1
        receiver.evaluate(now=at(second))
        if Alarm.objects.exists():
            break

    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-1"]
    assert second <= 3


def test_readings_that_were_erased_are_forgotten(mote, receiver, clock):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([hot(0, 20)])
    receiver.evaluate(now=at(0))
    store([hot(1, 20)])
    receiver.evaluate(now=at(1))
    assert receiver.received.readings == 2
    list(erase(mote[0], with_device=False))
    for second in (2, 3):
        clock.now += received.COMPARE_SECONDS
        receiver.evaluate(now=at(second))
    assert (receiver.received.readings, receiver.received.waiting, receiver.received.urgent) == (0, {}, set())


def test_readings_beyond_the_limit_are_read_from_the_log(device, receiver, monkeypatch):
    monkeypatch.setattr(received, "INBOX_READINGS", 3)
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))

    store([hot(0), hot(1, 20)])
    store([hot(2), hot(3, 20)])
    store([hot(4)])
    receiver.evaluate(now=at(5))

    assert [alarm[1] for alarm in times()] == [at(0), at(2), at(4)]


def test_readings_that_wait_beyond_the_limit_are_read_from_the_log(device, receiver, monkeypatch):
    monkeypatch.setattr(received, "HELD_READINGS", 3)
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))

    store([hot(0), hot(1, 20), hot(2), hot(3, 20)])
    receiver.evaluate(now=at(5))

    assert [alarm[1] for alarm in times()] == [at(0), at(2)]
    assert receiver.received.readings == 0


@pytest.mark.parametrize(("limit", "remembered"), [(0, set()), (2, {"mote-1", "mote-2"})])
def test_devices_are_not_remembered_without_limit(mote, other_device, receiver, clock, monkeypatch, limit, remembered):
    monkeypatch.setattr(received, "DEVICES", limit)
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([hot(0, 20), hot(0, 20, "mote-2")])
    receiver.evaluate(now=at(1))
    clock.now += received.IDLE_SECONDS

    receiver.evaluate(now=at(11))

    assert set(receiver.received.logs) == remembered


def test_a_step_that_fails_is_taken_again_with_what_was_received(device, receiver, monkeypatch):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([hot(0)])
    with monkeypatch.context() as patched:
        patched.setattr(outcomes, "advance", fail_with(OperationalError("the server is gone")))
        receiver.evaluate(now=at(1))
    receiver.aside.clear()

    receiver.evaluate(now=at(2))

    assert [alarm[1] for alarm in times()] == [at(0)]


def test_a_device_with_the_id_of_an_erased_one_is_not_judged_by_its_readings(mote, receiver, monkeypatch):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([hot(0)])
    list(erase(mote[0], with_device=True))
    Device.objects.register(device_id="mote-1")
    received_before = receiver.received.inbox, receiver.received.inbox_readings
    receiver.refreshed()
    # Even if the readings of the erased device arrive late.
    receiver.received.inbox, receiver.received.inbox_readings = received_before
    note = receiver.received.note
    receiver.received.note = lambda appended: None
    store([hot(1, 20)])
    receiver.received.note = note

    receiver.evaluate(now=at(2))
    receiver.evaluate(now=at(3))

    assert state_of().alarms_seq == 1
    assert not Alarm.objects.exists()


def test_readings_that_wait_end_the_silence_of_their_metric(device, receiver, clock):
    make_rule("silence", metric="temperature", seconds=60)
    make_rule("silence", metric="humidity", seconds=60)
    Reception.objects.create(id=1, since=at(-3600), until=at(3600))
    receiver.evaluate(now=at(0))
    store([new(timestamp=at(0), temperature=20, humidity=50)])
    receiver.evaluate(now=at(0))
    store([hot(50, 20)])
    receiver.evaluate(now=at(50))
    assert state_of().alarms_seq == 1

    receiver.evaluate(now=at(60))

    assert [alarm.metric for alarm in Alarm.objects.all()] == ["humidity"]
    assert EvaluationState.objects.get(rule__metric="temperature").heard_at == at(60)
    store([new(timestamp=at(70), humidity=50)])
    receiver.evaluate(now=at(70))
    assert Alarm.objects.get().resolved_at == at(70)


def test_devices_whose_readings_wait_do_not_hide_a_silent_one(mote, other_device, receiver, clock, monkeypatch):
    monkeypatch.setattr(silences, "STEP_DEVICES", 1)
    make_rule("silence", metric="temperature", seconds=60)
    Reception.objects.create(id=1, since=at(-3600), until=at(3600))
    receiver.evaluate(now=at(0))
    store([hot(0, 20), hot(0, 20, "mote-2")])
    receiver.evaluate(now=at(0))
    clock.now += 50
    store([hot(50, 20)])
    receiver.evaluate(now=at(50))
    assert state_of("mote-1").alarms_seq == 1

    receiver.evaluate(now=at(70))

    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-2"]
    assert state_of("mote-1").alarms_seq == 1


def test_a_silence_is_counted_from_the_arrival_of_the_last_value_however_late_it_is_judged(device, receiver, clock):
    make_rule("silence", metric="temperature", seconds=300)
    Reception.objects.create(id=1, since=at(-3600), until=at(3600))
    receiver.evaluate(now=at(0))
    for second in (0, 20, 40, 60):
        clock.now += 20
        store([hot(second, 20)])
        receiver.evaluate(now=at(second))
    assert (state_of().alarms_seq, EvaluationState.objects.get().heard_at) == (1, at(0))
    for second in (100, 150, 200):
        clock.now += 50
        store([new(timestamp=at(second), humidity=50)])
        receiver.evaluate(now=at(second))
    assert state_of().alarms_seq == 1
    receiver.evaluate(now=at(369))
    assert not Alarm.objects.exists()

    receiver.evaluate(now=at(371))

    assert [alarm.began_at for alarm in Alarm.objects.all()] == [at(60 + received_log.ARRIVAL_SECONDS)]


def test_which_devices_are_silent_is_looked_for_in_a_share_of_the_time(device, clock, monkeypatch):
    def look(*_, **given):
        clock.now += 0.5
        looked_at.append(clock.now)
        return iter(())

    looked_at = list[float]()
    monkeypatch.setattr(silences, "look", look)
    make_rule("silence", seconds=60)
    evaluator = Evaluator(look_share=1 / 100)
    for _ in range(4):
        evaluator.evaluate(now=at(0))
        clock.now += 24

    assert looked_at == [1000.5, 1073.0]


def test_between_these_looks_a_silence_ends_as_soon_as_something_is_heard(device, clock):
    make_rule("silence", seconds=60)
    Reception.objects.create(id=1, since=at(-3600), until=at(3600))
    store([hot(0, 20)])
    evaluator = Evaluator()
    evaluator.evaluate(now=at(100))
    assert Alarm.objects.open().count() == 1
    evaluator.looks.took(clock.now, clock.now + 1_000_000)
    store([hot(110, 20)])

    evaluator.evaluate(now=at(111))

    assert Alarm.objects.get().resolved_at == at(110)


def test_between_these_looks_any_value_of_a_silent_device_is_judged_at_once(device, receiver, clock):
    make_rule("silence", metric="temperature", seconds=60)
    make_rule(metric="humidity", above=90)
    Reception.objects.create(id=1, since=at(-3600), until=at(3600))
    receiver.evaluate(now=at(0))
    store([new(timestamp=at(0), temperature=20, humidity=50)])
    receiver.evaluate(now=at(0))
    receiver.evaluate(now=at(61))
    receiver.looks.took(clock.now, clock.now + 1_000_000)
    store([new(timestamp=at(70), humidity=50)])
    receiver.evaluate(now=at(70))
    assert Alarm.objects.open().count() == 1
    store([hot(80, 20)])

    receiver.evaluate(now=at(80))

    assert [alarm.resolved_at for alarm in Alarm.objects.all()] == [at(80)]


def test_a_silence_waits_for_more_readings_than_a_step_takes(mote, other_device, receiver, clock, monkeypatch):
    monkeypatch.setitem(positions.STEP_READINGS, connection.vendor, 2)
    make_rule("silence", metric="temperature", seconds=60)
    Reception.objects.create(id=1, since=at(-3600), until=at(3600))
    store([hot(0, 20)])
    receiver.evaluate(now=at(0))
    receiver.evaluate(now=at(1))
    elsewhere(receiver, [*(new(timestamp=at(n), humidity=50) for n in range(1, 8)), hot(50, 20)])
    store([hot(50 + n / 10, 20, "mote-2") for n in range(20)])

    receiver.evaluate(now=at(60))

    assert not Alarm.objects.exists()


def test_a_changed_rule_judges_what_comes_then_and_what_waits_is_not_read_from_the_log(device, receiver, monkeypatch):
    rule, other = make_rule(metric="temperature", above=30), make_rule("rate", metric="temperature", change=6, per=60)
    make_rule(metric="humidity", above=90)
    receiver.evaluate(now=at(0))
    store([hot(0, 20)])
    receiver.evaluate(now=at(0))
    store([hot(1, 22)])
    receiver.evaluate(now=at(1))
    change_rule(rule, {"above": 21.0}, None, now=at(2))
    refuse_to_read(monkeypatch)
    receiver.evaluate(now=at(2))
    assert times() == []
    store([hot(3, 25)])
    receiver.evaluate(now=at(3))
    store([hot(4, 27)])
    receiver.evaluate(now=at(4))

    assert [alarm[1] for alarm in times(rule=rule)] == [at(3)]
    assert [alarm[1] for alarm in times(rule=other)] == [at(4)]


def test_rules_about_another_metric_begin_with_nothing_at_hand(device, receiver):
    make_rule(metric="temperature", above=30)
    receiver.evaluate(now=at(0))
    store([new(timestamp=at(0), temperature=20, humidity=95)])
    receiver.evaluate(now=at(0))
    make_rule(metric="humidity", above=90)
    receiver.evaluate(now=at(1))
    assert (receiver.received.readings, state_of().alarms_seq) == (0, 1)
    store([new(timestamp=at(2), humidity=95)])

    receiver.evaluate(now=at(2))

    assert [alarm[1] for alarm in times()] == [at(2)]


def test_without_rules_nothing_is_kept(device, receiver):
    receiver.evaluate(now=at(0))
    store([hot(0)])

    assert receiver.received.inbox == []


def test_a_process_that_stops_leaves_what_waits_to_the_next(device, receiver):
    make_rule("stuck", metric="temperature", seconds=60)
    receiver.evaluate(now=at(0))
    store([hot(0, 20)])
    receiver.evaluate(now=at(0))
    store([hot(50, 20)])
    receiver.evaluate(now=at(50))
    store([hot(70, 20)])

    evaluate(at(70))

    assert times() == [(at(0), at(70), None, 20, 20)]


# Alone, because a page cannot be cleaned while any transaction of the server is older, also in another database.
@pytest.mark.alone
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_nearly_all_updates_of_states_touch_no_index():
    names = [f"state-{number}" for number in range(300)]
    for name in names:
        Device.objects.register(device_id=name)
    make_rule("stuck", metric="temperature", seconds=3600)
    evaluator = Evaluator()
    moment = at(0)
    for value in range(2):
        store([hot(value, value, name) for name in names])
        evaluator.evaluate(now=moment)
    before = updates("alarms_evaluationstate")

    for value in range(2, 7):
        moment += timedelta(seconds=1)
        wait_for_older_snapshots()
        store([hot(value, value, name) for name in names])
        evaluator.evaluate(now=moment)

    updated, without_index = (
        after - earlier for after, earlier in zip(updates("alarms_evaluationstate"), before, strict=True)
    )
    assert updated == 5 * 300
    assert without_index > 0.9 * updated

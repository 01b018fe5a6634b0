"""The evaluation: each reading is judged once, in the order of the log, whatever is cut, restarted or killed."""

import itertools
from typing import Any

import hypothesis
import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from devices.models import Device, DeviceState
from devices.tests.examples import examples
from readings.alarms.conditions.states import IDLE, Opened, Sample
from readings.alarms.evaluation import outcomes, positions, steps
from readings.alarms.evaluation.evaluator import Evaluator
from readings.alarms.evaluation.judging import decode_state, judge
from readings.alarms.evaluation.samples import read_series
from readings.alarms.models import Alarm, EvaluationState
from readings.alarms.parameters import condition_of
from readings.alarms.rules.changing import change_rule
from readings.alarms.tests.rules import announced, evaluate, make_rule
from readings.alarms.tests.test_conditions import series
from readings.tests.logs import at, make_devices, new, state_of, store
from readings.upkeep.erasure import erase

pytestmark = pytest.mark.django_db

numbers = itertools.count()


def hot(seconds, temperature=31.0, device_id="mote-1"):
    return new(device_id, at(seconds), temperature=temperature)


def times(**filters):
    found = Alarm.objects.filter(**filters).order_by("opened_at")
    return [(alarm.began_at, alarm.opened_at, alarm.resolved_at, alarm.value, alarm.worst) for alarm in found]


def test_a_value_beyond_the_bound_opens_an_alarm_that_ends_when_it_is_back(device):
    make_rule(metric="temperature", above=30)
    store([hot(0, 25), hot(10, 31), hot(20, 35)])

    with announced() as changes:
        done = evaluate(at(21))

    alarm = Alarm.objects.get()
    assert (done.readings, done.opened, done.resolved) == (3, 1, 0)
    assert (alarm.device_id, alarm.metric, alarm.value, alarm.worst) == ("mote-1", "temperature", 31, 35)
    assert (alarm.began_at, alarm.opened_at, alarm.noticed_at) == (at(10), at(10), at(21))
    assert (alarm.resolved_at, alarm.late) == (None, False)
    assert state_of().alarms_seq == 3
    store([hot(30, 29)])
    with announced() as later:
        evaluate(at(31))
    alarm = Alarm.objects.get()
    assert (alarm.resolved_at, alarm.reason) == (at(30), "cleared")
    assert [(change.event, change.device_id, change.device_name) for change in changes + later] == [
        ("opened", "mote-1", "North window"),
        ("resolved", "mote-1", "North window"),
    ]
    assert [change.alarm["state"] for change in changes + later] == ["open", "resolved"]
    assert {change.alarm["id"] for change in changes + later} == {alarm.id}


@pytest.mark.parametrize("kind", ["threshold", "rate", "stuck"])
def test_every_kind_is_judged_by_any_metric(device, kind):
    given: Any = {"threshold": {"above": 30}, "rate": {"change": 5, "per": 60}, "stuck": {"seconds": 60}}[kind]
    make_rule(kind, metric="co2", **given)
    make_rule(kind, metric="humidity", **given)

    for seconds, value in ((0, 31), (60, 40 if kind == "rate" else 31)):
        store([new(timestamp=at(seconds), humidity=value, extra={"co2": value, "pm2_5": 1})])
    evaluate(at(61))

    assert sorted(Alarm.objects.values_list("metric", flat=True)) == ["co2", "humidity"]


RULES = st.sampled_from(
    [
        {"above": 2},
        {"above": 2, "for_": 20, "clear_for": 20},
        {"above": 3, "below": -3, "clear_margin": 1, "for_": 30},
        {"kind": "rate", "change": 3, "per": 60},
        {"kind": "stuck", "seconds": 20, "tolerance": 1},
    ]
)


@given(
    RULES,
    series(),
    st.lists(st.integers(1, 5), min_size=50, max_size=50),
    st.lists(st.sampled_from(["none", "first", "second", "new"]), min_size=50, max_size=50),
)
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(5, of=20), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_cut_restart_and_wake_up_give_the_alarms_of_the_series(db, given_rule, values, sizes, evaluations):
    """Batches of any size, an evaluation after some of them, by one of two processes that take turns, or a new one."""
    processes = {"first": Evaluator(), "second": Evaluator()}
    device_id = f"node-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    rule = make_rule(metric="x", devices=(device_id,), **given_rule)
    _, events = judge(condition_of(rule), IDLE, values, now=at(0))

    left = list(values)
    for size, by in zip(sizes, evaluations, strict=True):
        batch, left = left[:size], left[size:]
        store([new(device_id, sample.at, extra={"x": sample.value}) for sample in batch])
        if by != "none":
            evaluate(at(10_000), processes.get(by))
    evaluate(at(10_000))

    stored = []
    for began_at, opened_at, resolved_at, value, _ in times(rule=rule):
        stored += [("opened", began_at, opened_at, value)] + ([("resolved", resolved_at)] if resolved_at else [])
    expected = [
        ("opened", event.began_at, event.opened_at, event.value)
        if isinstance(event, Opened)
        else ("resolved", event.resolved_at)
        for event in events
    ]
    assert sorted(stored) == sorted(expected)
    assert state_of(device_id).alarms_seq == len(values)
    change_rule(rule, {"is_active": False}, None, now=at(0))


def test_a_step_that_fails_at_its_end_is_taken_again_and_opens_one_alarm(device, monkeypatch):
    make_rule(metric="temperature", above=30)
    store([hot(0), hot(10, 20), hot(20)])
    evaluator = Evaluator()
    with monkeypatch.context() as patched, announced() as nothing:
        patched.setattr(outcomes, "advance", fail_with(OperationalError("the server is gone")))
        evaluator.evaluate(now=at(21))
    assert (Alarm.objects.count(), EvaluationState.objects.count(), state_of().alarms_seq) == (0, 0, 0)
    assert nothing == []

    with announced() as changes:
        evaluate(at(22))

    assert [change.event for change in changes] == ["opened", "resolved", "opened"]
    assert [alarm[:3] for alarm in times()] == [(at(0), at(0), at(10)), (at(20), at(20), None)]


def fail_with(error):
    def fail(*_args, **_named):
        raise error

    return fail


def test_a_device_that_fails_with_more_readings_than_a_step_takes_is_left_out(mote, other_device, monkeypatch):
    monkeypatch.setitem(positions.STEP_READINGS, connection.vendor, 2)
    make_rule(metric="temperature", above=30)
    store([*(hot(n) for n in range(5)), *(hot(n, device_id="mote-2") for n in range(5))])
    real = read_series

    def fail(parts, metrics):
        if any(part.device_id == "mote-1" for part in parts):
            raise ValueError("no idea")
        return real(parts, metrics)

    monkeypatch.setattr(steps, "read_series", fail)
    done = Evaluator().evaluate(now=at(5), seconds=5)
    assert (done.unfinished, done.failed, done.readings) == (False, 1, 5)


def test_a_device_that_fails_does_not_stop_the_others_and_is_tried_again(mote, other_device, monkeypatch, caplog):
    make_rule(metric="temperature", above=30)
    store([hot(0), hot(0, device_id="mote-2")])
    real = read_series

    def fail(parts, metrics):
        if any(part.device_id == "mote-1" for part in parts):
            raise ValueError("broken")
        return real(parts, metrics)

    evaluator = Evaluator()
    with monkeypatch.context() as patched:
        patched.setattr(steps, "read_series", fail)
        done = evaluator.evaluate(now=at(1))
        again = evaluator.evaluate(now=at(2))

    assert (done.failed, done.opened, again.failed) == (1, 1, 0)
    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-2"]
    assert "Judging alarms failed for device mote-1" in caplog.text
    evaluator.aside.clear()
    evaluator.evaluate(now=at(3))
    assert Alarm.objects.count() == 2


def test_a_rule_that_fails_does_not_stop_the_others(device, monkeypatch, caplog):
    make_rule(metric="temperature", above=30, name="First")
    make_rule("stuck", metric="temperature", seconds=10)
    real = judge

    def fail(condition, *args, **named):
        if hasattr(condition, "tolerance"):
            raise ZeroDivisionError
        return real(condition, *args, **named)

    monkeypatch.setattr(steps, "judge", fail)
    store([hot(0), hot(20)])

    assert evaluate(at(21)).failed == 0
    assert [alarm.rule.name for alarm in Alarm.objects.all()] == ["First"]
    assert "(stuck) could not judge readings" in caplog.text
    assert state_of().alarms_seq == 2


def test_a_rule_judges_what_is_stored_after_it_was_made(device):
    store([hot(0), hot(10)])
    make_rule(metric="temperature", above=30)
    evaluate(at(11))
    assert Alarm.objects.count() == 0

    store([hot(20)])
    evaluate(at(21))

    assert times() == [(at(20), at(20), None, 31, 31)]
    assert state_of().alarms_seq == 3


def test_a_second_rule_does_not_judge_what_the_first_has_still_to_judge(device):
    make_rule(metric="temperature", above=30, name="First")
    store([hot(0)])
    make_rule(metric="temperature", above=20, name="Second")
    store([hot(10, 25)])

    evaluate(at(11))

    assert [(alarm.rule.name, alarm.opened_at) for alarm in Alarm.objects.order_by("opened_at")] == [
        ("First", at(0)),
        ("Second", at(10)),
    ]


def test_a_long_log_is_not_read_when_the_first_rule_is_made(device):
    store([hot(n) for n in range(50)])
    make_rule(metric="temperature", above=30)
    store([hot(60)])

    assert evaluate(at(61)).readings == 1


def test_a_device_that_is_registered_later_is_judged_from_its_first_reading(device):
    make_rule(metric="temperature", above=30)
    evaluate(at(0))
    Device.objects.register(device_id="mote-9")
    store([hot(10, device_id="mote-9")])

    evaluate(at(11))

    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-9"]


def test_a_rule_that_names_devices_judges_them_alone(mote, other_device):
    make_rule(metric="temperature", above=30, devices=("mote-2",))
    store([hot(0), hot(0, device_id="mote-2")])

    evaluate(at(1))

    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-2"]
    assert (state_of().alarms_seq, state_of("mote-2").alarms_seq) == (0, 1)


def test_a_backlog_is_one_alarm_with_its_times_and_late(device):
    make_rule(metric="temperature", above=-10, name="Thawed")
    store([hot(0, -20)])
    evaluate(at(1))
    night = [hot(-7200 + 60 * n, -5 if 20 <= n < 40 else -20) for n in range(100)]

    store(night)
    evaluate(at(2))

    alarm = Alarm.objects.get()
    assert (alarm.opened_at, alarm.resolved_at) == (at(-6000), at(-4800))
    assert (alarm.noticed_at, alarm.late, alarm.reason) == (at(2), True, "cleared")


def test_a_reading_is_late_by_the_times_of_its_own_metric(device):
    """Batches ordered by metric: each series is in order, although the whole is not."""
    make_rule(metric="humidity", above=60, for_=60)
    make_rule(metric="temperature", above=99)
    for start in (0, 60, 120, 180):
        # The last value of the first two batches is fine, and only that one is the newest of the device.
        values = [70, 70, 70, 70, 70, 50 if start < 120 else 70]
        moments = [start + n * 10 for n in range(6)]
        temperatures = [hot(moment, 20) for moment in moments]
        store(temperatures + [new(timestamp=at(m), humidity=v) for m, v in zip(moments, values, strict=True)])
        evaluate(at(start + 60))

    assert [alarm[:2] for alarm in times()] == [(at(120), at(180))]


def test_what_retention_deleted_before_it_was_judged_is_left_out(device):
    make_rule(metric="temperature", above=30)
    store([hot(0), hot(10), hot(20, 20)])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM readings_reading WHERE seq <= 2")

    evaluate(at(21))

    assert (Alarm.objects.count(), state_of().alarms_seq) == (0, 3)


def test_a_rule_that_changes_during_a_step_makes_the_step_fail_and_the_next_one_knows(device, monkeypatch):
    rule = make_rule(metric="temperature", above=30)
    store([hot(0)])
    real = read_series

    def meanwhile(*args):
        monkeypatch.undo()
        change_rule(rule, {"above": 50.0}, None, now=at(1))
        return real(*args)

    evaluator = Evaluator()
    monkeypatch.setattr(steps, "read_series", meanwhile)
    assert evaluator.evaluate(now=at(1)).unfinished
    assert (Alarm.objects.count(), state_of().alarms_seq) == (0, 0)

    store([hot(10, 40), hot(20, 51)])
    evaluator.evaluate(now=at(21))

    assert [alarm[1] for alarm in times()] == [at(20)]


def test_a_position_that_moves_during_a_step_makes_it_fail(device, monkeypatch):
    make_rule(metric="temperature", above=30)
    store([hot(0), hot(10)])

    def meanwhile(*args):
        DeviceState.objects.update(alarms_seq=1)
        return read_series(*args)

    monkeypatch.setattr(steps, "read_series", meanwhile)

    assert evaluate(at(11)).unfinished
    assert not Alarm.objects.exists()


def test_a_device_far_behind_does_not_keep_the_others_waiting(db, monkeypatch):
    monkeypatch.setitem(positions.STEP_READINGS, connection.vendor, 5)
    make_devices(3)
    make_rule(metric="temperature", above=30)
    store([hot(n, 20 + n % 2 * 20, "node-0001") for n in range(23)])
    store([hot(0, device_id=f"node-{n:04}") for n in (0, 2)])
    evaluator = Evaluator()
    evaluator.rotation.position = ""
    positions_of_all = DeviceState.objects.order_by("device_id").values_list("alarms_seq", flat=True)

    seen = [list(positions_of_all.all()) for _ in evaluator.steps(evaluator.refreshed(), now=at(30))]

    assert seen[-1] == [1, 23, 1]
    assert [1, 5, 1] in seen
    assert Alarm.objects.count() == 2 + 11


def test_without_rules_an_evaluation_is_one_query_and_positions_stay(device):
    store([hot(0)])
    evaluator = Evaluator()
    evaluator.evaluate(now=at(1))

    with CaptureQueriesContext(connection) as queries:
        evaluator.evaluate(now=at(2))

    assert len(queries) == 1
    assert state_of().alarms_seq == 0


@pytest.mark.parametrize("devices", [3, 30])
@pytest.mark.one_database("each shard has a statement")
def test_the_queries_of_an_evaluation_do_not_grow_with_devices_and_rules(db, devices):
    names = make_devices(devices)
    for n in range(devices):
        make_rule(metric="temperature", above=30 + n % 2)
    evaluator = Evaluator()
    evaluator.evaluate(now=at(0))
    store([hot(0, 20, name) for name in names])

    with CaptureQueriesContext(connection) as queries:
        evaluator.evaluate(now=at(1))

    assert len(queries) <= 20


@pytest.mark.parametrize("kind", ["rate", "stuck"])
def test_after_each_evaluation_the_stored_state_is_that_of_all_readings(device, kind):
    """So that any other process, of this version or the one before, can go on from there."""
    given: Any = {"rate": {"change": 9, "per": 600}, "stuck": {"seconds": 600}}[kind]
    rule = make_rule(kind, metric="temperature", **given)
    evaluator, samples = Evaluator(), []
    for n in range(40):
        samples.append(Sample(at(n), 20 + n % 5))
        store([hot(n, 20 + n % 5)])
        evaluator.evaluate(now=at(n))

        expected, _ = judge(condition_of(rule), IDLE, samples, now=at(n))
        assert decode_state(EvaluationState.objects.get().state) == expected


def test_a_state_that_has_not_changed_is_not_written(device):
    make_rule("stuck", metric="temperature", seconds=600)
    evaluator = Evaluator()
    store([hot(0, 20)])
    evaluator.evaluate(now=at(0))
    store([hot(10, 20)])
    with CaptureQueriesContext(connection) as queries:
        evaluator.evaluate(now=at(10))

    assert state_of().alarms_seq == 2
    assert not [query for query in queries if "INSERT INTO alarms_evaluationstate" in query["sql"]]


def test_a_rule_that_begins_behind_a_backlog_judges_nothing_of_it(device, monkeypatch):
    monkeypatch.setitem(positions.STEP_READINGS, connection.vendor, 2)
    make_rule(metric="temperature", above=90)  # so that the backlog is judged at all
    store([hot(n * 10, 20) for n in range(10)])
    make_rule("stuck", metric="temperature", seconds=30)
    evaluate(at(200))
    assert not Alarm.objects.exists()

    store([hot(300, 20), hot(330, 20)])
    evaluate(at(331))

    assert times() == [(at(300), at(330), None, 20, 20)]


@pytest.mark.parametrize("seconds", [None, 0])
def test_a_deactivation_that_one_process_sees_ends_the_alarm_for_all(device, seconds):
    make_rule(metric="temperature", above=30)
    first, second = Evaluator(), Evaluator()
    store([hot(0)])
    evaluate(at(1), first)
    Device.objects.update(is_active=False)
    second.evaluate(now=at(2), seconds=seconds)
    Device.objects.update(is_active=True)
    store([hot(10, 40)])
    evaluate(at(11), first)

    assert times() == [(at(0), at(0), at(2), 31, 31), (at(10), at(10), None, 40, 40)]


def test_readings_that_retention_deleted_after_they_were_judged_are_not_needed_again(device):
    make_rule("stuck", metric="temperature", seconds=3600)
    evaluator = Evaluator()
    for n, value in enumerate((20, 25, 20, 20)):
        store([hot(n * 1800, value)])
        evaluator.evaluate(now=at(36_000 + n))
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM readings_reading WHERE seq <= 3")
    store([hot(4 * 1800, 20)])

    evaluate(at(72_000))

    assert times() == [(at(3600), at(7200), None, 20, 20)]


def test_a_state_that_cannot_be_decoded_leaves_out_its_rule_alone(device, caplog):
    broken = make_rule("stuck", metric="temperature", seconds=10, name="Broken")
    make_rule(metric="temperature", above=30, name="Whole")
    evaluator = Evaluator()
    store([hot(0)])
    evaluator.evaluate(now=at(1))
    EvaluationState.objects.filter(rule=broken).update(state='{"live":5}')
    store([hot(20)])

    assert evaluator.evaluate(now=at(21)).failed == 0

    assert [alarm.rule.name for alarm in Alarm.objects.all()] == ["Whole"]
    assert "(stuck) could not judge readings" in caplog.text
    assert state_of().alarms_seq == 2


def test_an_erased_device_is_forgotten(device):
    make_rule("stuck", metric="temperature", seconds=60)
    evaluator = Evaluator()
    store([hot(0, 20)])
    evaluator.evaluate(now=at(1))
    list(erase(device, with_device=False))
    store([hot(90, 20)])
    evaluator.evaluate(now=at(91))

    assert times() == []


def test_a_device_that_gets_the_id_of_an_erased_one_is_not_judged_by_its_rules(mote, other_device):
    make_rule(metric="temperature", above=30, devices=("mote-1", "mote-2"))
    evaluator = Evaluator()
    evaluator.evaluate(now=at(0))
    list(erase(mote[0], with_device=True))
    Device.objects.register(device_id="mote-1")
    store([hot(1), hot(1, device_id="mote-2")])
    evaluator.evaluate(now=at(2))

    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["mote-2"]


def test_values_that_say_nothing_write_no_state(device):
    make_rule(metric="temperature", above=30, for_=60)
    store([hot(0, 20), hot(10, 31), hot(20, 20)])
    evaluate(at(21))

    assert EvaluationState.objects.count() == 0

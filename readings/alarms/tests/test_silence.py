"""Silence: what counts is when something was received, and when the server could have received it."""

import itertools
import threading

import hypothesis
import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from devices.models import Device, DeviceState
from devices.tests.examples import examples
from readings.alarms.evaluation.evaluator import Evaluator
from readings.alarms.models import Alarm, Reception
from readings.alarms.rules.changing import change_rule
from readings.alarms.tests.rules import announced, evaluate, make_rule
from readings.alarms.upkeep import heartbeat
from readings.alarms.upkeep.heartbeat import beat, keep_beating
from readings.tests.logs import at, make_devices, new, store

pytestmark = [pytest.mark.django_db, pytest.mark.once]

numbers = itertools.count()


def listen(start, end):
    """A process receives from `start` to `end`, in seconds after noon, without a gap."""
    for seconds in [*range(start, end, 20), end]:
        beat(now=at(seconds))


def receive(seconds, device_id="mote-1", **values):
    store([new(device_id, at(seconds), **values)], received_at=at(seconds))


def times(**filters):
    found = Alarm.objects.filter(**filters).order_by("opened_at")
    return [(alarm.began_at, alarm.opened_at, alarm.resolved_at) for alarm in found]


def test_a_device_that_was_not_heard_from_for_too_long_is_silent_until_it_is_heard_again(device):
    make_rule("silence", seconds=300)
    receive(0)
    listen(0, 299)
    evaluate(at(299))
    assert times() == []
    listen(299, 300)

    with announced() as changes:
        evaluate(at(301))
        evaluate(at(302))

    assert times() == [(at(0), at(300), None)]
    assert [change.event for change in changes] == ["opened"]
    alarm = Alarm.objects.get()
    assert (alarm.metric, alarm.value, alarm.worst, alarm.late) == ("", None, None, False)
    receive(400)
    listen(300, 401)
    evaluate(at(401))
    assert times() == [(at(0), at(300), at(400))]


def test_a_backlog_resolves_it_at_the_time_of_its_receipt(device):
    make_rule("silence", seconds=300)
    receive(0)
    listen(0, 600)
    evaluate(at(600))
    store([new(timestamp=at(-5000))], received_at=at(610))
    listen(600, 620)

    evaluate(at(620))

    assert times() == [(at(0), at(300), at(610))]


def test_an_import_resolves_nothing_because_the_device_sent_nothing(device):
    make_rule("silence", seconds=300)
    receive(0)
    listen(0, 600)
    evaluate(at(600))
    store([new(timestamp=at(-5000))], received_at=None)

    evaluate(at(601))

    assert Alarm.objects.open().count() == 1


def test_without_seconds_a_device_is_silent_when_it_counts_as_offline(db):
    Device.objects.register(device_id="slow", report_interval=600)
    Device.objects.register(device_id="usual")
    make_rule("silence")
    receive(0, "slow")
    receive(0, "usual")
    listen(0, 300)
    evaluate(at(300))
    assert [alarm.device_id for alarm in Alarm.objects.all()] == ["usual"]

    listen(300, 3000)
    evaluate(at(3000))

    assert {alarm.device_id: alarm.opened_at for alarm in Alarm.objects.all()} == {"usual": at(300), "slow": at(3000)}


def test_a_device_that_never_reported_and_one_that_is_deactivated_are_not_silent(mote, other_device):
    make_rule("silence", seconds=60)
    receive(0, "mote-2")
    Device.objects.filter(device_id="mote-2").update(is_active=False)
    listen(0, 600)

    evaluate(at(600))

    assert times() == []


def test_a_rule_that_is_made_while_devices_are_silent_opens_at_once(device):
    receive(0)
    listen(0, 1000)
    make_rule("silence", seconds=300, now=at(1000))

    evaluate(at(1001))

    assert times() == [(at(0), at(1000), None)]
    assert not Alarm.objects.get().late


def test_no_alarm_comes_from_an_hour_without_the_server(db):
    names = make_devices(1000)
    make_rule("silence", seconds=300)
    store([new(name, at(0)) for name in names], received_at=at(0))
    listen(0, 60)
    evaluator = Evaluator()
    evaluator.evaluate(now=at(60))

    for seconds in range(3660, 3900, 30):
        beat(now=at(seconds))
        evaluator.evaluate(now=at(seconds + 1))
    assert Alarm.objects.count() == 0
    store([new(name, at(3900)) for name in names[10:]], received_at=at(3900))
    listen(3900, 3960)
    evaluator.evaluate(now=at(3960))

    assert sorted(Alarm.objects.values_list("device_id", flat=True)) == names[:10]
    assert set(Alarm.objects.values_list("opened_at", flat=True)) == {at(3660 + 300)}


def test_a_thousand_silent_devices_are_noticed_in_steps_without_one_too_many(db, monkeypatch):
    names = make_devices(25)
    monkeypatch.setattr("readings.alarms.evaluation.silences.STEP_DEVICES", 10)
    make_rule("silence", seconds=300)
    make_rule("silence", seconds=600)
    store([new(name, at(0)) for name in names], received_at=at(0))
    listen(0, 700)

    assert evaluate(at(700)).opened == 50
    assert evaluate(at(701)).opened == 0
    store([new(name, at(710)) for name in names], received_at=at(710))
    assert evaluate(at(711)).resolved == 50


def test_while_no_process_receives_nothing_becomes_silent(device):
    make_rule("silence", seconds=300)
    receive(0)
    evaluate(at(900))
    listen(0, 200)

    evaluate(at(900))

    assert times() == []


class TestMetric:
    def test_counts_from_when_the_metric_was_last_read(self, device):
        make_rule("silence", metric="humidity", seconds=300)
        receive(0, humidity=50)
        listen(0, 100)
        evaluate(at(1))
        receive(200, temperature=20)
        listen(100, 290)
        evaluate(at(290))
        assert times() == []
        listen(290, 310)
        evaluate(at(310))
        assert times() == [(at(1), at(301), None)]

        receive(320, humidity=51)
        evaluate(at(322))

        assert times() == [(at(1), at(301), at(322))]

    def test_is_never_early_after_a_restart_and_a_reading_of_another_metric(self, device):
        make_rule("silence", metric="humidity", seconds=600)
        make_rule(metric="temperature", above=90)
        evaluator = Evaluator()
        for seconds in (0, 10, 20):
            receive(seconds, humidity=50)
            evaluate(at(seconds), evaluator)
        receive(30, temperature=20)
        evaluate(at(30))
        listen(0, 619)
        evaluate(at(619))
        assert times() == []
        listen(619, 620)
        evaluate(at(620))
        assert times() == [(at(20), at(620), None)]

    def test_a_shorter_time_counts_from_when_the_metric_was_last_read(self, device):
        rule = make_rule("silence", metric="humidity", seconds=7200)
        evaluator = Evaluator()
        for seconds in range(0, 301, 60):
            receive(seconds, humidity=50)
            evaluate(at(seconds), evaluator)
        listen(0, 419)
        change_rule(rule, {"seconds": 120}, None, now=at(310))
        evaluate(at(419), evaluator)
        assert times() == []
        listen(419, 420)
        evaluate(at(420), evaluator)
        assert times() == [(at(300), at(420), None)]

    def test_a_device_without_the_metric_is_not_silent(self, mote, other_device):
        make_rule("silence", metric="humidity", seconds=60)
        receive(0, temperature=20)
        receive(0, "mote-2", extra={"humidity_2": 5})
        listen(0, 600)

        evaluate(at(600))

        assert times() == []

    def test_one_that_had_it_before_the_rule_was_made_counts_from_then(self, mote, other_device):
        receive(0, humidity=50)
        receive(0, "mote-2", temperature=50)
        make_rule("silence", metric="humidity", seconds=300, now=at(100))
        listen(0, 399)
        evaluate(at(399))
        assert times() == []

        listen(399, 400)
        evaluate(at(400))

        assert times() == [(at(100), at(400), None)]


class TestHeartbeat:
    def test_beats_without_a_gap_keep_the_beginning(self, db):
        for seconds in (0, 5, 35, 60, 58, 88):
            beat(now=at(seconds))

        assert Reception.objects.values_list("since", "until").get() == (at(0), at(88))

    @pytest.mark.parametrize("step", [31, 3600, -31, -86_400])
    def test_a_longer_time_and_a_clock_that_was_set_are_a_gap(self, db, step):
        beat(now=at(0))
        beat(now=at(step))

        assert Reception.objects.values_list("since", "until").get() == (at(step), at(step))

    def test_it_survives_a_database_that_is_away(self, db, monkeypatch, caplog):
        stop, beats = threading.Event(), []

        def at_times_away(*, now):
            beats.append(now)
            if len(beats) == 6:
                stop.set()
            if len(beats) in (2, 3, 5):
                raise OperationalError("the server is gone")

        monkeypatch.setattr(heartbeat, "beat", at_times_away)
        thread = threading.Thread(target=keep_beating, args=[stop], kwargs={"interval": 0.001})
        thread.start()
        thread.join(20)

        assert not thread.is_alive()
        assert caplog.text.count("The heartbeat cannot reach the database") == 2

    @pytest.mark.django_db(transaction=True)
    def test_a_thread_beats_in_the_database(self, db):
        stop = threading.Event()
        stop.set()
        thread = threading.Thread(target=keep_beating, args=[stop])
        thread.start()
        thread.join(20)

        assert Reception.objects.count() == 1


class TestClock:
    """The clock of the server is set while devices report every 60 s."""

    @pytest.mark.parametrize("step", [3600, 86_400 * 365, -3600, -86_400])
    def test_a_clock_that_is_set_makes_nobody_silent(self, device, step):
        make_rule("silence", seconds=300)
        receive(0)
        listen(0, 20)
        evaluator = Evaluator()
        evaluator.evaluate(now=at(step + 21))  # before the first heartbeat by the new clock
        for seconds in range(25, 280, 25):
            beat(now=at(step + seconds))
            evaluator.evaluate(now=at(step + seconds))
        assert times() == []

        for seconds in range(280, 360, 20):
            beat(now=at(step + seconds))
        evaluator.evaluate(now=at(step + 350))

        # An alarm is not dated before its rule began to judge, nor in the future if the rule is from there.
        assert [opened for _, opened, _ in times()] == [at(step + (325 if step > 0 else 350))]

    def test_an_open_alarm_ends_with_a_receipt_by_the_clock_that_was_set_back(self, device):
        make_rule("silence", seconds=300)
        receive(0)
        listen(0, 300)
        evaluate(at(300))
        assert Alarm.objects.open().count() == 1
        beat(now=at(-7200))
        DeviceState.objects.update(last_seen_at=at(-7190))

        evaluate(at(-7180))

        assert Alarm.objects.open().count() == 0


def test_a_change_of_the_seconds_judges_the_open_alarm_anew(device):
    rule = make_rule("silence", seconds=300)
    receive(0)
    listen(0, 400)
    evaluate(at(400))
    change_rule(rule, {"seconds": 3600}, None, now=at(410))

    evaluate(at(411))

    assert Alarm.objects.open().count() == 1
    receive(420)
    evaluate(at(421))
    assert Alarm.objects.open().count() == 0


@given(st.lists(st.integers(1, 700), max_size=6), st.lists(st.integers(1, 200), min_size=10, max_size=10))
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(3, of=10), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_evaluations_at_any_times_give_the_alarms_of_the_receipts(db, gaps, looks):
    """An evaluation follows each receipt, and one falls into each silence; more of them change nothing."""
    device_id = f"node-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    rule = make_rule("silence", devices=(device_id,), seconds=300)
    received = list(itertools.accumulate(gaps, initial=0))
    wakes = {*itertools.accumulate(looks), *received}
    wakes |= {start + 300 for start, end in itertools.pairwise(received) if end - start > 300}

    for now in sorted(wake for wake in wakes if wake <= received[-1]):
        if now in received:
            receive(now, device_id)
        Reception.objects.update_or_create(id=1, defaults={"since": at(-1), "until": at(now)})
        evaluate(at(now))

    expected = [
        (at(start), at(start + 300), at(end)) for start, end in itertools.pairwise(received) if end - start > 300
    ]
    assert times(rule=rule) == expected
    change_rule(rule, {"is_active": False}, None, now=at(0))

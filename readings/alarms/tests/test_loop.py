"""The loop in `up` and `maintain`: one process at a time, woken by new readings, and errors do not end it."""

import io
import threading
import time

import pytest
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.utils import timezone

from readings.alarms.evaluation import loop
from readings.alarms.evaluation.evaluator import Evaluation, Evaluator
from readings.alarms.evaluation.lag import open_by_severity, waiting
from readings.alarms.evaluation.loop import Waker, keep_evaluating, pause_after
from readings.alarms.models import Alarm
from readings.alarms.tests.rules import alarm_of, evaluate, make_rule
from readings.log import recording as log
from readings.tests.logs import at, new, store
from readings.upkeep.locks import Busy, exclusively

pytestmark = pytest.mark.django_db(transaction=True)


def run(stop, waker=None, report=None):
    thread = threading.Thread(target=keep_evaluating, args=[stop], kwargs={"waker": waker, "report": report})
    thread.start()
    return thread


def test_it_opens_an_alarm_soon_after_the_reading(device):
    make_rule(metric="temperature", above=30)
    stop, waker = threading.Event(), Waker()
    waker.listen()
    thread = run(stop, waker)
    try:
        time.sleep(0.5)
        moment = timezone.now()
        store([new(timestamp=moment, temperature=31)], received_at=moment)
        deadline = time.monotonic() + 20
        while not Alarm.objects.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        waker.end()
        thread.join(20)
    assert not thread.is_alive()
    assert Alarm.objects.get().opened_at == moment


def test_readings_that_are_stored_wake_it(device):
    stop, waker = threading.Event(), Waker()
    waker.listen()
    try:
        waker.wait(stop, least=0, most=0)
        started = time.monotonic()
        log.record([new()], received_at=at(0))
        waker.wait(stop, least=0, most=60)
        _, appended = log.store([new(timestamp=at(1))], received_at=at(1))
        async_to_sync(log.announce)(appended)
        waker.wait(stop, least=0, most=60)
        assert time.monotonic() - started < 20
    finally:
        waker.end()


@pytest.mark.parametrize(
    ("readings", "used", "seconds"),
    [(0, 0, 0.3), (1_000, 0.1, 0.4), (1_000, 3, 1), (10_001, 1.1, 4.4), (1_000_000, 5, 5)],
)
def test_the_pause_follows_the_cpu_time_and_is_bounded(readings, used, seconds):
    assert pause_after(Evaluation(readings=readings), used) == pytest.approx(seconds)


def test_it_outlives_errors_and_says_each_once(device, monkeypatch, caplog):
    stop, rounds = threading.Event(), []
    errors = {
        2: OperationalError("the server is gone"),
        3: OperationalError("the server is gone"),
        5: KeyError("x"),
        6: KeyError("x"),
    }

    def at_times(self, **_):
        rounds.append(True)
        if len(rounds) == 8:
            stop.set()
        if error := errors.get(len(rounds)):
            raise error
        return Evaluation()

    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.001)
    monkeypatch.setattr(Evaluator, "evaluate", at_times)
    thread = run(stop)
    thread.join(20)

    assert not thread.is_alive()
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("readings.alarms")]
    assert [message.partition(":")[0].partition(" (")[0] for message in messages if "alarms" in message] == [
        "The evaluation of alarms waits for the database",
        "The database answers again; the evaluation of alarms continues.",
        "An evaluation of alarms failed. The next one tries again",
        "An evaluation of alarms succeeded again.",
    ]


def test_two_never_evaluate_at_once(device):
    make_rule(metric="temperature", above=30)
    store([new(temperature=31)])
    refused = []

    def other():
        try:
            evaluate(at(1))
        except Busy:
            refused.append(True)
        finally:
            connection.close()

    with exclusively("alarms"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
    assert refused == [True]
    assert not Alarm.objects.exists()


def test_one_round_from_cron_judges_too_and_fails_if_a_device_fails(device, monkeypatch):
    make_rule(metric="temperature", above=30)
    store([new(temperature=31)])
    output = io.StringIO()

    call_command("maintain", "--once", stdout=output)

    assert "1 reading judged, 1 alarm opened, 0 resolved." in output.getvalue()
    monkeypatch.setattr("readings.alarms.evaluation.steps.read_series", lambda *_: {})
    store([new(timestamp=at(1), temperature=31)])
    with pytest.raises(CommandError, match="1 device failed"):
        call_command("maintain", "--once", stdout=io.StringIO())


@pytest.mark.parametrize("task", ["alarms", "delivery"])
def test_one_round_from_cron_leaves_to_another_process_what_that_does(device, task):
    store([new(temperature=31)])
    held, ended = threading.Event(), threading.Event()

    def other():
        with exclusively(task):
            held.set()
            ended.wait(20)
        connection.close()

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(20)
    output = io.StringIO()
    try:
        call_command("maintain", "--once", stdout=output)
    finally:
        ended.set()
        thread.join(20)

    assert output.getvalue().startswith("1 reading rolled up")


def test_the_gauges_count_open_alarms_and_what_waits(mote, other_device):
    store([new(), new("mote-2")])
    assert waiting() == 0
    make_rule(metric="temperature", above=30, devices=("mote-1",), severity="critical")
    evaluate(at(0))
    store([new(timestamp=at(1), temperature=31), new("mote-2", at(1))])

    assert waiting() == 1
    evaluate(at(2))
    assert waiting() == 0
    alarm_of("mote-2", resolved_at=at(3))
    assert open_by_severity() == {"info": 0, "warning": 0, "critical": 1}

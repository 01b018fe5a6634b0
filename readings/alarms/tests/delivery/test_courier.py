"""The loop that delivers: slow receivers, errors, one process at a time, and a kill at any moment."""

import itertools
import threading
import time

import hypothesis
import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from devices.models import Device
from devices.tests.examples import examples
from readings.alarms.delivery import courier as delivering
from readings.alarms.delivery import outbox, releasing
from readings.alarms.delivery.courier import Courier, deliver_once, keep_delivering
from readings.alarms.delivery.rounds import is_late, note_round
from readings.alarms.delivery.senders.answers import Answer
from readings.alarms.delivery.wakeup import wake
from readings.alarms.models import Alarm, Delivery, DeliveryRound, Message
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.delivery.receivers import deliver, finish_tries, hook_channel
from readings.alarms.tests.rules import evaluate, make_rule
from readings.tests.logs import NOON, at, new, store
from readings.upkeep.locks import exclusively

numbers = itertools.count()


class Killed(BaseException):
    """The process was killed here."""


# What a process does between a commit of readings and the receipt of the messages; after each it may be killed.
POINTS = ("evaluated", "released", "sent", "recorded")


@pytest.mark.django_db
@given(
    values=st.lists(st.sampled_from((20, 31)), min_size=4, max_size=8),
    kills=st.lists(st.sampled_from((None, None, *POINTS)), min_size=60, max_size=60),
    answers=st.lists(st.sampled_from((True, True, False)), min_size=60, max_size=60),
)
@pytest.mark.examples
@hypothesis.settings(max_examples=examples(3, of=6), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_killed_anywhere_each_message_arrives_with_one_id_in_order(db, values, kills, answers):
    """A receiver that takes every message twice at most for each kill, and by its id never two different ones."""
    device_id = f"node-{next(numbers)}"
    Device.objects.register(device_id=device_id)
    made = channel()
    rule = make_rule(metric="temperature", above=30, devices=(device_id,), channels=[made.pk])
    plan, replies = list(kills), iter(answers)
    arrived: list[tuple[str, str, list[str]]] = []

    def passes(point):
        if plan and plan.pop() == point:
            raise Killed

    class Process(Courier):
        def begin(self, delivery, *, now):
            passes("released")
            content = outbox.content_of(delivery.message)
            assert content is not None
            ok = next(replies, True)
            if ok:
                arrived.append((str(content.id), content.type, [str(alarm.pk) for alarm in content.alarms]))
            passes("sent")
            outbox.record(delivery.pk, Answer(ok, "x", away=not ok), started=now, now=now)
            passes("recorded")
            return True

    now = 0.0
    process = Process()
    for value in values:
        store([new(device_id, at(now), temperature=value)])
        for _ in range(2):
            try:
                evaluate(at(now))
                passes("evaluated")
                while process.step(now=at(now)):
                    pass
            except Killed:
                process = Process()
        now += 7
    plan.clear()
    process = Process()
    for later in (30, 60, 600, 4_000, 8_000, 12_000, 40_000):
        while process.step(now=at(now + later)):
            pass

    contents: dict[str, tuple[str, list[str]]] = {}
    for identifier, kind, alarms in arrived:
        assert contents.setdefault(identifier, (kind, alarms)) == (kind, alarms)
    told = Alarm.objects.filter(rule=rule)
    for alarm in told:
        once = list(dict.fromkeys((identifier, kind) for identifier, kind, ids in arrived if str(alarm.pk) in ids))
        kinds = [kind for _, kind in once]
        assert kinds in (
            (["alarm.opened"],) if alarm.is_open else (["alarm.opened", "alarm.resolved"], ["alarm.resolved"])
        )
        # A repeated try of the first never comes after the second.
        order = [kind for _, kind, ids in arrived if str(alarm.pk) in ids]
        assert order == sorted(order)
    assert not Delivery.objects.filter(state="waiting").exists()
    assert not Message.objects.filter(released_at=None).exists()


@pytest.mark.django_db
def test_a_slow_receiver_delays_no_other_channel_and_keeps_its_own_order(mote, other_device):
    with hook_channel("slow") as (slow, first), hook_channel("quick") as (quick, second):
        go = threading.Event()
        slow.answer = lambda _: go.wait(20) and 204
        make_rule(metric="temperature", above=30, channels=[first.pk, second.pk])
        courier = Courier()
        for seconds, value in ((0, 31), (20, 20), (40, 31)):
            store([new(timestamp=at(seconds), temperature=value)])
            evaluate(at(seconds))
            courier.step(now=at(seconds))
            deadline = time.monotonic() + 20
            while second.pk in courier.busy and time.monotonic() < deadline:
                courier.record_results(now=at(seconds))
                time.sleep(0.002)
        assert quick.types == ["alarm.opened", "alarm.resolved", "alarm.opened"]
        assert len(slow.received) == 1
        go.set()
        finish_tries(courier, at(41))
        deliver(at(41), courier)
        assert slow.ids == quick.ids


@pytest.mark.django_db
def test_an_unexpected_error_of_a_try_is_a_failed_try_without_its_text(device, monkeypatch, caplog):
    monkeypatch.setattr(delivering, "send", lambda *_, **__: 1 / int("0"))
    make_rule(metric="temperature", above=30, channels=[channel().pk])
    store([new(temperature=31)])
    evaluate(at(0))
    deliver(at(0))

    found = Delivery.objects.get()
    assert (found.state, found.tries, found.error) == ("waiting", 1, "Sending failed unexpectedly (ZeroDivisionError).")


@pytest.mark.django_db(transaction=True)
def test_the_loop_delivers_soon_outlives_errors_and_says_them_once(device, monkeypatch, caplog):
    errors = iter([OperationalError("the server is gone"), OperationalError("the server is gone"), KeyError("x")])
    release = releasing.release

    def failing(*, now):
        if (error := next(errors, None)) is not None:
            raise error
        return release(now=now)

    monkeypatch.setattr(delivering, "release", failing)
    monkeypatch.setattr(delivering, "PAUSE_SECONDS", 0.01)
    stop = threading.Event()
    thread = threading.Thread(target=keep_delivering, args=[stop])
    with hook_channel() as (hook, made):
        thread.start()
        try:
            make_rule(metric="temperature", above=30, channels=[made.pk])
            moment = timezone.now()
            store([new(timestamp=moment, temperature=31)], received_at=moment)
            evaluate(moment)
            deadline = time.monotonic() + 20
            while not Delivery.objects.filter(state="delivered").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            stop.set()
            wake()
            thread.join(20)
    assert not thread.is_alive()
    assert hook.types == ["alarm.opened"]
    said = [record.getMessage() for record in caplog.records if record.name == "readings.alarms.delivery.courier"]
    assert [text.partition(":")[0].partition(" (")[0] for text in said] == [
        "The delivery of messages waits for the database",
        "A round of delivery failed. The next one tries again",
        "The database answers again; the delivery of messages continues.",
        "A round of delivery succeeded again.",
    ]


@pytest.mark.django_db(transaction=True)
def test_two_processes_never_deliver_at_once(device):
    with hook_channel() as (hook, made):
        make_rule(metric="temperature", above=30, channels=[made.pk])
        moment = timezone.now()
        store([new(timestamp=moment, temperature=31)], received_at=moment)
        evaluate(moment)
        stop = threading.Event()
        with exclusively("delivery"):
            thread = threading.Thread(target=keep_delivering, args=[stop])
            thread.start()
            time.sleep(0.3)
            stop.set()
            wake()
            thread.join(20)
        assert hook.received == []
        assert deliver_once() == 1
        assert hook.types == ["alarm.opened"]
        assert deliver_once() == 0
    connection.close()


@pytest.mark.django_db
def test_a_result_that_cannot_be_stored_is_kept(device, monkeypatch):
    with hook_channel() as (hook, made):
        make_rule(metric="temperature", above=30, channels=[made.pk])
        store([new(temperature=31)])
        evaluate(at(0))
        courier = Courier()
        record = outbox.record
        monkeypatch.setattr(outbox, "record", lambda *_, **__: (_ for _ in ()).throw(OperationalError))
        courier.step(now=at(0))
        deadline = time.monotonic() + 20
        while not hook.received and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(0.1)
        with pytest.raises(OperationalError):
            courier.step(now=at(0))
        assert courier.busy
        monkeypatch.setattr(outbox, "record", record)
        deliver(at(0), courier)
        assert len(hook.received) == 1
    assert Delivery.objects.get().state == "delivered"


@pytest.mark.django_db
def test_delivery_is_late_if_there_are_channels_and_no_process_looks(db):
    assert not is_late(now=at(0))
    channel()
    assert not is_late(now=at(299))
    assert is_late(now=at(301))
    note_round(now=at(290))
    note_round(now=at(300))
    assert not is_late(now=at(599))
    assert is_late(now=at(601))
    assert DeliveryRound.objects.count() == 1
    channel(name="another")
    assert is_late(now=at(-10_000))
    deliver(NOON)
    assert not is_late(now=NOON)

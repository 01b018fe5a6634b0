"""The outbox: tries, their times, their order, what is given up, and what bounds it."""

from datetime import timedelta

import pytest

from devices.models import Device
from readings.alarms import instruments
from readings.alarms.delivery import outbox
from readings.alarms.delivery.senders.answers import Answer
from readings.alarms.models import Alarm, Channel, Delivery, Message, MessageAlarm
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.delivery.receivers import deliver
from readings.alarms.tests.rules import alarm_of, make_rule
from readings.tests.logs import NOON, at, make_devices

pytestmark = pytest.mark.django_db

DAY = 86_400


class Sent:
    """`tries`: channels and ids of messages, in the order of the tries. `answers`: by channel; else it is delivered."""

    def __init__(self):
        self.tries: list[tuple[int, str]] = []
        self.answers: dict[int, Answer] = {}

    def __call__(self, to, post, *, now):
        self.tries.append((to.pk, post.id))
        return self.answers.get(to.pk, Answer(True, "ok"))


@pytest.fixture
def sent(monkeypatch):
    sent = Sent()
    monkeypatch.setattr("readings.alarms.delivery.courier.send", sent)
    return sent


def oldest():
    return Delivery.objects.order_by("id")[:1].get()


def content_of(delivery):
    content = outbox.content_of(delivery.message)
    assert content is not None
    return content


def message(*device_ids, rule=None, channels=None, now=NOON, **given):
    """A released message about an alarm of each of these devices."""
    rule = rule or make_rule(metric="temperature", above=30)
    made = Message.objects.create(
        **{"rule": rule, "type": "alarm.opened", "created_at": now, "release_at": now, "first": False} | given,
        released_at=now,
        count=len(device_ids),
    )
    for device_id in device_ids:
        alarm = Alarm.objects.filter(rule=rule, device_id=device_id).first() or alarm_of(device_id, rule=rule)
        MessageAlarm.objects.create(message=made, alarm=alarm)
    outbox.enqueue(made, channels or [channel().pk], now=now)
    return made


AWAY = Answer(False, "nobody there", away=True)
REFUSED = Answer(False, "no")


def test_tries_follow_each_other_at_growing_intervals_for_a_day(device, sent):
    given_up = instruments.GIVEN_UP._value.get()
    made = message("mote-1")
    sent.answers[channel().pk] = REFUSED
    times, now = [], 0.0
    while now < 2 * DAY:
        before = len(sent.tries)
        deliver(at(now))
        if len(sent.tries) > before:
            times.append(now)
            if (found := Delivery.objects.get()).state != "waiting":
                break
            now = (found.next_try_at - NOON).total_seconds()
        assert len(sent.tries) == before + 1

    assert times[:7] == [0, 5, 35, 155, 755, 4_355, 7_955]
    assert DAY - 3_600 <= times[-1] <= DAY
    assert {identifier for _, identifier in sent.tries} == {str(made.pk)}
    found = Delivery.objects.get()
    assert (found.state, found.error, found.tries) == ("given_up", "no", len(times))
    assert instruments.GIVEN_UP._value.get() == given_up + 1
    assert not MessageAlarm.objects.exists()


def test_before_its_time_nothing_is_tried_again(device, sent):
    message("mote-1")
    sent.answers[channel().pk] = REFUSED
    for now in (0, 1, 4.9):
        deliver(at(now))

    assert len(sent.tries) == 1
    deliver(at(5))
    assert len(sent.tries) == 2


def test_a_message_waits_for_earlier_ones_about_its_alarms_and_for_no_others(mote, other_device, sent):
    rule = make_rule(metric="temperature", above=30)
    first = message("mote-1", rule=rule)
    sent.answers[channel().pk] = REFUSED
    deliver(at(0))
    second = message("mote-1", "mote-2", rule=rule, now=at(1), type="alarm.resolved")
    third = message("mote-2", rule=rule, now=at(1), type="alarm.repeated")
    other = message("mote-2", now=at(1))
    sent.answers.clear()
    sent.tries.clear()
    deliver(at(1))
    assert [identifier for _, identifier in sent.tries] == [str(other.pk)]
    deliver(at(5))

    assert [identifier for _, identifier in sent.tries[1:]] == [str(made.pk) for made in (first, second, third)]
    assert set(Delivery.objects.values_list("state", flat=True)) == {"delivered"}


def test_what_was_given_up_blocks_nothing(device, sent):
    rule = make_rule(metric="temperature", above=30)
    message("mote-1", rule=rule)
    message("mote-1", rule=rule, type="alarm.resolved")
    sent.answers[channel().pk] = REFUSED
    Delivery.objects.filter(pk=oldest().pk).update(first_try_at=NOON - timedelta(days=1), tries=30)
    deliver(at(0))
    assert [found.state for found in Delivery.objects.order_by("id")] == ["given_up", "waiting"]
    sent.answers.clear()
    deliver(at(5))
    assert [found.state for found in Delivery.objects.order_by("id")] == ["given_up", "delivered"]


def test_when_a_receiver_is_back_what_did_not_reach_it_is_sent_at_once(mote, other_device, sent):
    message("mote-1")
    message("mote-2")
    sent.answers[channel().pk] = AWAY
    deliver(at(0))
    for now in (5, 35, 155, 755):
        deliver(at(now))
    sent.answers.clear()
    sent.tries.clear()
    Delivery.objects.filter(pk=oldest().pk).update(next_try_at=at(800))
    deliver(at(800))

    assert len(sent.tries) == 2


def test_each_channel_is_tried_by_itself(device, sent):
    one, two = channel(name="one"), channel(name="two")
    sent.answers[one.pk] = AWAY
    made = message("mote-1", channels=[one.pk, two.pk])
    deliver(at(0))

    states = dict(Delivery.objects.values_list("channel__name", "state"))
    assert states == {"one": "waiting", "two": "delivered"}
    assert MessageAlarm.objects.filter(message=made).exists()
    sent.answers.clear()
    deliver(at(5))
    assert not MessageAlarm.objects.exists()
    assert sent.tries.count((two.pk, str(made.pk))) == 1


def test_the_messages_that_wait_for_a_channel_are_bounded(db, sent, monkeypatch):
    monkeypatch.setattr(outbox, "WAITING_MAX", 20)
    devices = make_devices(30)
    rule = make_rule(metric="temperature", above=30)
    sent.answers[channel().pk] = AWAY
    for device_id in devices:
        message(device_id, rule=rule)

    states = [found.state for found in Delivery.objects.order_by("id")]
    assert states == ["given_up"] * 10 + ["waiting"] * 20
    assert "more than" in oldest().error
    assert MessageAlarm.objects.count() == 20


def test_of_finished_messages_the_latest_are_kept(db, sent, monkeypatch):
    monkeypatch.setattr(outbox, "KEPT", 3)
    devices = make_devices(6)
    made = [message(device_id) for device_id in devices[:5]]
    deliver(at(0))
    sent.answers[channel().pk] = AWAY
    waits = message(devices[5])

    assert outbox.expire() == 2
    assert set(Message.objects.values_list("pk", flat=True)) == {found.pk for found in [*made[2:], waits]}


def test_a_clock_that_was_set_back_does_not_stop_the_outbox(device, sent):
    message("mote-1", now=at(10 * DAY))
    deliver(at(0))

    assert len(sent.tries) == 1


def test_a_result_for_a_deleted_channel_is_forgotten(device, sent):
    message("mote-1")
    (found,) = outbox.due(now=at(0), busy={})
    Channel.objects.all().delete()

    assert outbox.record(found.pk, AWAY, started=at(0), now=at(0)) is None


@pytest.mark.parametrize("alarms", [1, 5])
def test_a_look_takes_the_same_number_of_queries_however_many_alarms(db, sent, django_assert_num_queries, alarms):
    devices = make_devices(5)
    rule = make_rule(metric="temperature", above=30)
    for _ in range(alarms):
        message(*devices[:alarms], rule=rule)
    with django_assert_num_queries(5):
        (found,) = outbox.due(now=at(0), busy={})
        assert len(content_of(found).alarms) == alarms


def test_devices_of_a_message_are_there_when_it_is_sent(device, sent):
    Device.objects.filter(pk=device.pk).update(name="Roof")
    message("mote-1")
    (found,) = outbox.due(now=at(0), busy={})

    assert content_of(found).alarms[0].device.name == "Roof"

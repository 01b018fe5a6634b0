"""Open alarms are sent again until somebody acknowledges them."""

import pytest

from readings.alarms.acknowledging import acknowledge
from readings.alarms.models import Alarm, Rule
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.delivery.receivers import deliver, hook_channel
from readings.alarms.tests.rules import evaluate, make_rule
from readings.tests.logs import at, new, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def hook():
    with hook_channel() as (hook, _):
        yield hook


@pytest.fixture
def rule(hook, mote, other_device):
    return make_rule(metric="temperature", above=30, channels=[channel().pk], repeat=600)


def measure(seconds, temperature, *device_ids):
    store([new(device_id, at(seconds), temperature=temperature) for device_id in device_ids])
    evaluate(at(seconds))
    deliver(at(seconds))


def test_an_open_alarm_is_repeated_with_an_id_of_its_own_until_somebody_acknowledges(hook, rule):
    measure(0, 31, "mote-1")
    for seconds in (599, 600, 700, 1_199, 1_200):
        deliver(at(seconds))

    assert hook.types == ["alarm.opened", "alarm.repeated", "alarm.repeated"]
    assert len(set(hook.ids)) == 3
    assert "still" in hook.received[1]["data"]["summary"]
    acknowledge(Alarm.objects.get().pk, by="ada", comment="", now=at(1_300))
    deliver(at(5_000))
    assert len(hook.received) == 3
    measure(5_100, 20, "mote-1")
    assert hook.types[3:] == ["alarm.resolved"]


def test_alarms_of_a_rule_come_together(hook, rule):
    measure(0, 31, "mote-1")
    measure(60, 31, "mote-2")
    for seconds in range(600, 1_300, 60):
        deliver(at(seconds))

    assert hook.alarms("alarm.repeated") == [["mote-1", "mote-2"]] * 2


def test_a_mute_pauses_it_and_then_it_goes_on(hook, rule):
    measure(0, 31, "mote-1")
    Rule.objects.filter(pk=rule.pk).update(muted_until=at(5_000))
    deliver(at(4_999))
    assert hook.types == ["alarm.opened"]
    deliver(at(5_001))
    assert hook.types == ["alarm.opened", "alarm.repeated"]


def test_a_channel_that_still_waits_for_a_repetition_gets_no_other_one(hook, rule):
    measure(0, 31, "mote-1")
    hook.answer = lambda _: 503
    for seconds in range(600, 6_000, 300):
        deliver(at(seconds))
    assert len(set(hook.ids)) == 2
    hook.answer = lambda _: 204
    deliver(at(9_700))
    deliver(at(10_300))

    assert len(set(hook.ids)) == 3


def test_it_begins_when_a_rule_gets_it(hook, mote):
    rule = make_rule(metric="temperature", above=30, channels=[channel().pk])
    measure(0, 31, "mote-1")
    deliver(at(5_000))
    Rule.objects.filter(pk=rule.pk).update(repeat=600)
    deliver(at(5_001))

    assert hook.types == ["alarm.opened", "alarm.repeated"]


def test_a_rule_that_is_off_or_without_channels_repeats_nothing(hook, rule, django_assert_num_queries):
    measure(0, 31, "mote-1")
    Rule.objects.filter(pk=rule.pk).update(is_active=False)
    deliver(at(5_000))
    rule.is_active = True
    rule.save()
    rule.channels.clear()
    deliver(at(6_000))

    assert hook.types == ["alarm.opened"]

"""From readings to messages: which alarms come together in one message, and which message never comes."""

import threading
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from devices.models import DeviceTag
from readings.alarms.delivery import releasing
from readings.alarms.delivery.gathering import Notices, end_evaluation
from readings.alarms.delivery.muting import mute_device, mute_rule, mute_tag, muted_devices
from readings.alarms.evaluation.evaluator import Evaluator
from readings.alarms.models import Alarm, Delivery, DeviceMute, Message, MessageAlarm, Rule, TagMute
from readings.alarms.rules.changing import change_rule, delete_rule
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.delivery.receivers import Hook, deliver, hook_channel
from readings.alarms.tests.rules import alarm_of, evaluate, give, make_rule
from readings.tests.logs import at, make_devices, new, store
from readings.upkeep.erasure import erase

pytestmark = pytest.mark.django_db


@pytest.fixture
def hook():
    with hook_channel() as (hook, _):
        yield hook


def hot(**given):
    values: dict[str, Any] = {"name": "Hot", "metric": "temperature", "above": 30, "channels": [channel().pk]}
    return make_rule(**values | given)


def measure(seconds, temperature, *device_ids):
    """Readings of these devices at this time, judged and delivered at once."""
    store([new(device_id, at(seconds), temperature=temperature) for device_id in device_ids or ("mote-1",)])
    evaluate(at(seconds))
    deliver(at(seconds))


def test_an_alarm_is_one_message_when_it_opens_and_one_when_it_is_resolved(device, hook, settings):
    settings.PUBLIC_URL = "https://telemetry.example.org"
    rule = hot(severity="critical", text="Check the door.")
    measure(0, 31.5)
    measure(60, 20)

    opened, resolved = hook.received
    (alarm,) = opened["data"]["alarms"]
    assert opened == {
        "type": "alarm.opened",
        "timestamp": "2026-05-09T12:00:00.000000Z",
        "data": {
            "rule": {
                "id": rule.pk,
                "name": "Hot",
                "kind": "threshold",
                "severity": "critical",
                "text": "Check the door.",
            },
            "summary": "North window (mote-1): temperature above 30 °C (31.5 °C) since 12:00 UTC",
            "count": 1,
            "alarms": [
                {
                    "id": str(Alarm.objects.get().pk),
                    "device_id": "mote-1",
                    "name": "North window",
                    "began_at": "2026-05-09T12:00:00.000000Z",
                    "opened_at": "2026-05-09T12:00:00.000000Z",
                    "resolved_at": None,
                    "reason": None,
                    "metric": "temperature",
                    "value": 31.5,
                    "late": False,
                }
            ],
            "url": f"https://telemetry.example.org/alarms/?rule={rule.pk}",
        },
    }
    assert resolved["type"] == "alarm.resolved"
    ended = {"resolved_at": "2026-05-09T12:01:00.000000Z", "reason": "cleared"}
    assert resolved["data"]["alarms"] == [alarm | ended]
    assert len(set(hook.ids)) == 2
    assert not MessageAlarm.objects.exists()


def test_what_one_evaluation_opens_is_one_message_and_the_next_ten_seconds_are_one_more(hook, db):
    devices = make_devices(30)
    hot()
    measure(0, 31, *devices[:11])
    for second in range(1, 10):
        measure(second, 31, *devices[11 : 11 + 2 * second])
    assert hook.alarms("alarm.opened") == [devices[:11]]
    deliver(at(10))

    assert hook.alarms("alarm.opened") == [devices[:11], devices[11:29]]
    measure(15, 31, devices[29])
    assert len(hook.received) == 2
    deliver(at(20))
    assert hook.alarms("alarm.opened")[2:] == [[devices[29]]]


def test_steps_of_one_evaluation_are_one_message(hook, db, monkeypatch):
    monkeypatch.setattr("readings.alarms.evaluation.evaluator.STEP_READINGS", {"sqlite": 4, "postgresql": 4})
    devices = make_devices(13)
    hot()
    store([new(device_id, at(0), temperature=31) for device_id in devices])
    with_each_step = []

    class Watched(Evaluator):
        def count(self, changes):
            super().count(changes)
            deliver(at(0))
            with_each_step.append(len(hook.received))

    evaluate(at(0), Watched())
    deliver(at(0))

    assert len(with_each_step) > 3
    assert set(with_each_step) == {0}
    assert [got["data"]["count"] for got in hook.received] == [13]


def test_what_a_killed_evaluation_left_is_sent_ten_seconds_later(hook, device, monkeypatch):
    monkeypatch.setattr("readings.alarms.evaluation.evaluator.end_evaluation", lambda: None)
    hot()
    measure(0, 31)
    deliver(at(9))
    assert hook.received == []
    deliver(at(10))
    assert len(hook.received) == 1


@pytest.mark.slow
def test_a_storm_of_a_thousand_devices_within_ten_seconds_is_at_most_two_messages(hook, db):
    devices = make_devices(1_000)
    hot()
    for second in range(10):
        measure(second, 31, *devices[100 * second : 100 * second + 100])
    deliver(at(10))

    assert [got["data"]["count"] for got in hook.received] == [100, 900]
    assert len(hook.received[1]["data"]["alarms"]) == 100
    assert Delivery.objects.count() == 2


def test_a_backlog_that_opens_and_resolves_an_alarm_is_one_message_with_both_times(hook, device):
    hot()
    store([new(timestamp=at(seconds), temperature=value) for seconds, value in ((0, 31), (600, 20))])
    evaluate(at(7_200))
    deliver(at(7_200))

    assert hook.types == ["alarm.resolved"]
    (alarm,) = hook.received[0]["data"]["alarms"]
    assert (alarm["opened_at"], alarm["resolved_at"], alarm["late"]) == (
        "2026-05-09T12:00:00.000000Z",
        "2026-05-09T12:10:00.000000Z",
        True,
    )


def test_an_alarm_that_ends_before_its_message_was_sent_is_one_message(hook, mote, other_device):
    hot()
    measure(0, 31, "mote-2")
    measure(3, 31, "mote-1")
    measure(6, 20, "mote-1")
    deliver(at(30))

    assert hook.types == ["alarm.opened", "alarm.resolved"]
    assert hook.alarms("alarm.opened") == [["mote-2"]]
    assert hook.alarms("alarm.resolved") == [["mote-1"]]


def test_a_value_that_flaps_sends_at_most_one_message_of_a_type_in_ten_seconds(hook, device):
    hot()
    for second in range(0, 30, 3):
        measure(second, 31)
        measure(second + 1, 20)
    deliver(at(40))

    assert len(hook.received) <= 8
    named = [alarm["id"] for got in hook.received for alarm in got["data"]["alarms"]]
    assert len(set(named)) == Alarm.objects.count() == 10


def test_a_rule_without_channels_writes_no_message(device):
    hot(channels=[])
    measure(0, 31)
    measure(60, 20)

    assert not Message.objects.exists()
    assert Alarm.objects.get().told_at is None


def test_what_was_not_committed_sends_nothing(hook, device, monkeypatch):
    hot()
    store([new(temperature=31)])
    monkeypatch.setattr("readings.alarms.evaluation.outcomes.advance", lambda _: 1 / 0)
    evaluate(at(0))
    deliver(at(20))

    assert hook.received == []
    assert not Message.objects.exists()


@pytest.mark.parametrize("end", ["off", "deleted"])
def test_a_rule_that_is_switched_off_or_deleted_sends_nothing_more(hook, mote, other_device, end):
    rule = hot()
    hook.answer = lambda _: 503
    measure(0, 31, "mote-1")
    measure(3, 31, "mote-2")
    hook.answer = lambda _: 204
    hook.received.clear()
    if end == "off":
        change_rule(rule, {"is_active": False}, None, now=at(4))
    else:
        delete_rule(rule, now=at(4))
    deliver(at(30))
    deliver(at(7_200))

    assert hook.received == []
    assert set(Alarm.objects.values_list("reason", flat=True)) <= {"rule_off", "rule_deleted"}
    assert [(found.state, found.finished_at) for found in Delivery.objects.all()] == [("dropped", at(4))]
    assert not MessageAlarm.objects.exists()


def test_a_change_that_ends_an_alarm_says_so(hook, mote, other_device):
    rule = hot()
    measure(0, 31)
    change_rule(rule, {}, ["mote-2"], now=at(60))
    deliver(at(60))

    assert hook.types == ["alarm.opened", "alarm.resolved"]
    assert hook.received[1]["data"]["alarms"][0]["reason"] == "rule_changed"


def test_a_deactivated_device_is_resolved_with_a_message(hook, device):
    hot()
    measure(0, 31)
    device.is_active = False
    device.save()
    evaluate(at(60))
    deliver(at(60))

    assert hook.received[1]["data"]["alarms"][0]["reason"] == "device_deactivated"


@pytest.mark.parametrize("muted", ["rule", "device", "tag"])
def test_while_muted_alarms_are_recorded_and_nothing_is_sent(hook, device, muted):
    rule = hot(muted_until=at(100) if muted == "rule" else None)
    if muted == "device":
        DeviceMute.objects.create(device=device, until=at(100))
    if muted == "tag":
        TagMute.objects.create(tag=give(device, "roof"), until=at(100))
    measure(0, 31)
    measure(50, 20)
    measure(90, 31)
    deliver(at(99))
    assert hook.received == []
    assert Alarm.objects.filter(rule=rule).count() == 2

    deliver(at(101))
    deliver(at(200))

    assert hook.types == ["alarm.opened"]
    assert hook.received[0]["data"]["alarms"][0]["opened_at"] == "2026-05-09T12:01:30.000000Z"
    measure(210, 20)
    assert hook.types == ["alarm.opened", "alarm.resolved"]


def test_a_device_that_loses_a_muted_tag_is_heard(hook, device, other_device):
    hot()
    TagMute.objects.create(tag=give(device, "roof"), until=at(5_000))
    measure(0, 31, "mote-1", "mote-2")
    assert [alarm["device_id"] for alarm in hook.received[0]["data"]["alarms"]] == ["mote-2"]

    DeviceTag.objects.all().delete()
    deliver(at(60))

    assert [alarm["device_id"] for alarm in hook.received[1]["data"]["alarms"]] == ["mote-1"]


def test_when_a_mute_ends_what_was_told_before_it_is_completed(hook, device):
    rule = hot()
    measure(0, 31)
    Rule.objects.filter(pk=rule.pk).update(muted_until=at(100))
    measure(50, 20)
    assert hook.types == ["alarm.opened"]
    deliver(at(101))

    assert hook.types == ["alarm.opened", "alarm.resolved"]
    assert not Alarm.objects.filter(held=True).exists()


@pytest.mark.parametrize("end", ["deleted", "switched off"])
@pytest.mark.parametrize("temperatures", [[31], [31, 20]])
def test_a_rule_that_ends_during_a_mute_sends_nothing_after_it(hook, device, end, temperatures):
    rule = hot()
    measure(0, temperatures[0])
    TagMute.objects.create(tag=give(device, "roof"), until=at(100))
    for temperature in (*temperatures[1:], 31):
        measure(50, temperature)
    if end == "deleted":
        delete_rule(rule, now=at(60))
    else:
        change_rule(rule, {"is_active": False}, None, now=at(60))
    deliver(at(101))

    assert hook.types == ["alarm.opened"]
    assert not Alarm.objects.filter(held=True).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("what", ["device", "tag", "rule"])
def test_a_mute_that_begins_while_another_ends_holds_back_nothing_of_it(device, monkeypatch, what):
    rule, tag = hot(), give(device, "roof")
    alarm_of("mote-1", rule=rule, held=True)
    begins = {"device": partial(mute_device, device), "tag": partial(mute_tag, tag), "rule": partial(mute_rule, rule)}

    def mute():
        try:
            begins[what](at(3_600))
        finally:
            connection.close()

    thread = threading.Thread(target=mute)

    def meanwhile(*given, **more):
        thread.start()
        thread.join(0.5)  # it has to wait for the other one
        return Notices(*given, **more)

    monkeypatch.setattr(releasing, "Notices", meanwhile)
    releasing.end_mutes(now=at(0))
    thread.join(20)

    assert not thread.is_alive()
    assert Message.objects.count() == 1
    assert muted_devices(["mote-1"], now=at(1)) or Rule.objects.get().muted_until


def test_what_somebody_acknowledged_during_a_mute_is_not_sent(hook, device):
    hot(muted_until=at(100))
    measure(0, 31)
    Alarm.objects.update(acknowledged_at=at(10))
    deliver(at(101))

    assert hook.received == []
    measure(200, 20)
    assert hook.received == []


def test_an_erased_device_is_in_no_message_any_more(hook, mote, other_device):
    hot()
    hook.answer = lambda _: 503
    measure(0, 31, "mote-1", "mote-2")
    measure(30, 20, "mote-1")
    hook.received.clear()
    hook.answer = lambda _: 204
    list(erase(mote[0], with_device=True))
    deliver(at(3_600))

    assert [got["data"]["alarms"][0]["device_id"] for got in hook.received] == ["mote-2"]
    assert "mote-1" not in str(hook.received)
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["delivered", "dropped"]


def test_without_changes_of_alarms_an_evaluation_asks_nothing_about_messages(device, django_assert_num_queries):
    with transaction.atomic(), django_assert_num_queries(1):
        end_evaluation()
    hook = Hook()
    hook.close()
    hot()
    evaluator = Evaluator()
    evaluate(at(0), evaluator)
    store([new(temperature=20)])
    evaluate(at(1), evaluator)
    assert not Message.objects.exists()

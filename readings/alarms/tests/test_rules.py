"""What becomes of states and open alarms if a rule is changed, switched off or deleted, or a device leaves."""

import importlib
import io
from datetime import timedelta

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import IntegrityError, transaction

from devices.models import Device
from readings.alarms.acknowledging import acknowledge
from readings.alarms.models import Alarm, EvaluationState, Rule, RuleDevice
from readings.alarms.rules.changing import change_rule, delete_rule
from readings.alarms.tests.rules import alarm_of, announced, evaluate, make_rule
from readings.alarms.upkeep.heartbeat import beat
from readings.alarms.upkeep.retention import expire_alarms
from readings.tests.logs import NOON, at, new, state_of, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def rule(device):
    return make_rule(metric="temperature", above=30, name="Hot")


@pytest.fixture
def alarm(rule):
    """An open alarm of `rule` about `mote-1`."""
    post(0, 31)
    evaluate(at(1))
    return Alarm.objects.get()


def post(seconds, temperature, device_id="mote-1"):
    store([new(device_id, at(seconds), temperature=temperature)])


def state(alarm):
    alarm = Alarm.objects.get(pk=alarm.pk)
    return alarm.resolved_at, alarm.reason


OPEN = (None, "")


class TestSwitchedOffAndDeleted:
    def test_a_rule_that_is_switched_off_resolves_its_alarms(self, rule, alarm):
        with announced() as changes:
            change_rule(rule, {"is_active": False}, None, now=at(5))

        assert state(alarm) == (at(5), "rule_off")
        assert [(change.event, change.alarm["reason"]) for change in changes] == [("resolved", "rule_off")]
        post(10, 35)
        evaluate(at(11))
        assert Alarm.objects.count() == 1
        assert EvaluationState.objects.count() == 0

    def test_switched_on_again_it_judges_from_then_on(self, rule, alarm):
        change_rule(rule, {"is_active": False}, None, now=at(5))
        post(10, 35)
        change_rule(rule, {"is_active": True}, None, now=at(15))
        evaluate(at(16))
        assert Alarm.objects.count() == 1

        post(20, 36)
        evaluate(at(21))

        assert Alarm.objects.open().get().opened_at == at(20)

    def test_a_deleted_rule_resolves_its_alarms_which_still_name_it(self, rule, alarm):
        with announced() as changes:
            delete_rule(rule, now=at(5))
            delete_rule(rule, now=at(6))

        assert state(alarm) == (at(5), "rule_deleted")
        assert len(changes) == 1
        assert changes[0].alarm["rule"] == {"id": rule.pk, "name": "Hot", "kind": "threshold", "severity": "warning"}
        assert not Rule.objects.existing().filter(pk=rule.pk).exists()
        with pytest.raises(Rule.DoesNotExist):
            change_rule(rule, {"is_active": True}, None, now=at(7))


class TestChanged:
    def test_a_name_changes_nothing_that_was_judged(self, rule):
        change_rule(rule, {"for_seconds": 60}, None, now=NOON)
        post(0, 31)
        evaluate(at(1))
        change_rule(rule, {"name": "Too hot", "severity": "critical", "text": "Open a window."}, None, now=at(2))
        post(60, 31)

        evaluate(at(61))

        assert Alarm.objects.get().began_at == at(0)

    def test_an_open_alarm_is_judged_by_the_rule_as_it_is_now(self, rule, alarm):
        change_rule(rule, {"above": 40.0}, None, now=at(5))
        evaluate(at(6))
        assert state(alarm) == OPEN

        post(10, 35)
        evaluate(at(11))

        assert state(alarm) == (at(10), "cleared")

    def test_one_that_still_holds_stays_open_and_keeps_its_times(self, rule, alarm):
        change_rule(rule, {"above": 25.0, "for_seconds": 600}, None, now=at(5))
        post(10, 28)
        evaluate(at(11))

        assert state(alarm) == OPEN
        assert (Alarm.objects.get().began_at, Alarm.objects.get().worst) == (at(0), 31)

    def test_it_judges_what_is_stored_from_then_on(self, rule):
        post(0, 29)
        change_rule(rule, {"above": 20.0}, None, now=at(5))
        evaluate(at(6))
        assert Alarm.objects.count() == 0
        post(10, 29)

        evaluate(at(11))

        assert Alarm.objects.get().opened_at == at(10)

    def test_an_alarm_about_another_metric_ends(self, rule, alarm):
        change_rule(rule, {"metric": "humidity"}, None, now=at(5))

        assert state(alarm) == (at(5), "rule_changed")

    def test_an_alarm_about_a_device_that_it_no_longer_names_ends(self, rule, alarm, other_device):
        post(0, 31, "mote-2")
        evaluate(at(2))
        change_rule(rule, {}, ["mote-2"], now=at(5))

        assert state(alarm) == (at(5), "rule_changed")
        assert Alarm.objects.open().get().device_id == "mote-2"
        post(10, 20, "mote-2")
        post(10, 35)
        evaluate(at(11))
        assert Alarm.objects.open().count() == 0


class TestDevices:
    def test_the_alarms_of_a_device_that_is_deactivated_end(self, rule, alarm, device):
        Device.objects.update(is_active=False)

        with announced() as changes:
            evaluate(at(5))
            evaluate(at(6))

        assert state(alarm) == (at(5), "device_deactivated")
        assert len(changes) == 1
        Device.objects.update(is_active=True)
        post(10, 36)
        evaluate(at(11))
        assert Alarm.objects.open().get().opened_at == at(10)

    def test_an_alarm_about_a_metric_that_is_never_reported_again_stays_open(self, rule, alarm):
        store([new(timestamp=at(n * 60), humidity=50) for n in range(1, 50)])

        evaluate(at(4000))

        assert state(alarm) == OPEN

    def test_of_an_erased_device_no_alarm_and_no_state_stays(self, rule, alarm, other_device):
        alarm_of("mote-2", rule=rule)
        call_command("erase_device", "mote-1", "--yes", stdout=io.StringIO())

        assert [left.device_id for left in Alarm.objects.all()] == ["mote-2"]
        assert EvaluationState.objects.count() == 0
        assert state_of().alarms_seq == state_of().last_seq
        post(10, 31)
        evaluate(at(11))
        assert Alarm.objects.filter(device_id="mote-1").get().opened_at == at(10)

    def test_with_the_device_its_place_in_rules_goes_too(self, mote, other_device):
        both = make_rule(
            metric="temperature", above=30, devices=("mote-1", "mote-2"), text="Look at mote-1 and mote-12."
        )
        alone = make_rule(metric="temperature", above=30, devices=("mote-1",))

        call_command("erase_device", "mote-1", "--with-device", "--yes", stdout=io.StringIO())

        assert list(RuleDevice.objects.values_list("rule", "device")) == [(both.pk, "mote-2")]
        assert Rule.objects.get(pk=both.pk).text == "Look at [erased] and mote-12."
        # Without devices it would apply to all.
        assert not Rule.objects.existing().filter(pk=alone.pk).exists()


class TestRetention:
    def test_resolved_alarms_are_deleted_a_year_after_they_ended_and_open_ones_stay(self, device, settings):
        year = timedelta(days=365)
        beat(now=NOON)
        kept = [alarm_of("mote-1", at=NOON - 3 * year).pk]
        kept.append(alarm_of("mote-1", at=NOON - 3 * year, resolved_at=NOON - year).pk)
        alarm_of("mote-1", at=NOON - 3 * year, resolved_at=NOON - year - timedelta(seconds=1))

        assert expire_alarms(now=NOON) == 1
        assert set(Alarm.objects.values_list("pk", flat=True)) == set(kept)
        settings.ALARM_RETENTION_DAYS = 0
        assert expire_alarms(now=NOON + 99 * year) == 0

    def test_a_deleted_rule_goes_with_its_last_alarm(self, rule):
        delete_rule(rule, now=NOON)
        other = make_rule(metric="temperature", above=30)
        alarm_of("mote-1", rule=other, resolved_at=NOON)
        delete_rule(other, now=NOON)

        expire_alarms(now=NOON)

        assert not Rule.objects.filter(pk=rule.pk).exists()
        assert Rule.objects.filter(pk=other.pk).exists()

    def test_a_clock_that_jumps_deletes_nothing(self, device):
        from readings.upkeep.maintenance import maintain

        maintain(now=NOON)
        alarm_of("mote-1", at=NOON, resolved_at=NOON)

        assert expire_alarms(now=NOON + timedelta(days=4000)) == 0


def test_the_database_refuses_a_second_open_alarm_of_a_rule_and_device(rule, alarm):
    with pytest.raises(IntegrityError), transaction.atomic():
        alarm_of("mote-1", rule=rule)
    alarm_of("mote-1", rule=rule, resolved_at=NOON)


def test_an_alarm_is_acknowledged_once_and_a_new_comment_replaces(alarm):
    with announced() as changes:
        acknowledge(alarm.pk, by="ada", comment="On my way", now=at(5))
        acknowledge(alarm.pk, by="bob", comment="", now=at(6))
        again = acknowledge(alarm.pk, by="bob", comment="On my way", now=at(7))
        assert (again.acknowledged_by, again.acknowledged_at) == ("ada", at(5))
        last = acknowledge(alarm.pk, by="bob", comment="Fixed", now=at(8))

    assert (last.acknowledged_by, last.acknowledged_at, last.comment) == ("bob", at(8), "Fixed")
    assert [change.event for change in changes] == ["acknowledged", "acknowledged"]


def test_the_first_rule_is_there_after_the_first_start_and_off():
    Rule.objects.all().delete()
    migration = importlib.import_module("readings.alarms.migrations.0002_rule_silent")

    migration.create(apps, None)
    migration.create(apps, None)

    silent = Rule.objects.get()
    assert (silent.name, silent.kind, silent.is_active, silent.for_all_devices) == ("Silent", "silence", False, True)

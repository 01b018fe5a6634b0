"""`/alarms/`, its rules, the bell in every page's bar, and what the fleet, a device and the overview show of alarms."""

import json
import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.models import Device, Tag
from devices.tests.fixtures import staff_client
from devices.times import rfc3339
from devices.tokens.models import AccountTag
from readings.alarms.delivery.muting import mute_device, mute_rule, mute_tag
from readings.alarms.models import Alarm, Rule, Severity
from readings.alarms.querysets import SEVERITIES
from readings.alarms.tests.delivery.channels import channel as make_channel
from readings.alarms.tests.rules import alarm_of, give, make_rule
from readings.tests.logs import at, make_devices, new, store

pytestmark = pytest.mark.django_db

READ, ALARMS, RULES = "readings.view_reading", "alarms.view_alarm", "alarms.view_rule"
MANAGE = "alarms.manage_rules"


def html_of(client, path):
    response = client.get(path)
    assert response.status_code == 200, response.content
    return response.content.decode()


def carried(client, path, element):
    """The JSON that the page passes to its script."""
    found = re.search(rf'<script id="{element}" type="application/json">(.*?)</script>', html_of(client, path))
    assert found
    return json.loads(found[1])


def queries(client, path):
    with CaptureQueriesContext(connection) as captured:
        html_of(client, path)
    return len(captured)


def alarms_of_many(count, **given):
    rule = make_rule(metric="temperature", above=30, **given)
    for device_id in make_devices(count):
        alarm_of(device_id, rule=rule)
    return rule


def test_severities_rise_in_the_order_of_the_model():
    assert tuple(Severity.values) == SEVERITIES


class TestBell:
    def bell(self, client, path="/guide"):
        found = re.search(r'id="bell" href="/alarms/" data-open="(\d+)".*?</a>', html_of(client, path), re.DOTALL)
        return found and (int(found[1]), "hidden>" not in found[0].replace('aria-hidden="true"', ""))

    @pytest.mark.parametrize("path", ["/guide", "/admin/", "/docs"])
    def test_every_page_shows_how_many_alarms_are_open(self, device, path):
        viewer = staff_client("viewer", ALARMS)
        assert self.bell(viewer, path) == (0, False)
        alarm_of("mote-1")
        alarm_of("mote-1", rule=make_rule(metric="humidity", above=1), resolved_at=at(9))
        assert self.bell(viewer, path) == (1, True)

    def test_who_may_not_see_alarms_has_none(self, device, anyone):
        alarm_of("mote-1")
        for client in (anyone, staff_client("watcher", READ)):
            assert self.bell(client) is None

    def test_it_is_one_query(self, db):
        assert queries(staff_client("viewer", ALARMS), "/guide") - queries(staff_client("other"), "/guide") <= 2


class TestCounts:
    def test_they_name_each_device_with_the_highest_severity(self, device, other_device):
        viewer = staff_client("viewer", ALARMS)
        assert viewer.get("/alarms/-/open").json() == {"open": 0, "devices": {}}
        for severity in ("info", "critical", "warning"):
            alarm_of("mote-1", rule=make_rule(metric="temperature", above=30, severity=severity))
        alarm_of("mote-2", rule=make_rule(metric="temperature", above=30, severity="info"))
        expected = {"mote-1": [3, "critical"], "mote-2": [1, "info"]}
        assert viewer.get("/alarms/-/open").json() == {"open": 4, "devices": expected}
        assert viewer.get("/alarms/-/open?devices=false").json() == {"open": 4}

    def test_they_cost_the_same_however_many_there_are(self, db):
        viewer = staff_client("viewer", ALARMS)
        few = queries(viewer, "/alarms/-/open")
        alarms_of_many(30)
        assert queries(viewer, "/alarms/-/open") == few


class TestAlarms:
    def test_it_carries_the_rules_for_the_filter(self, device):
        rule = make_rule(metric="temperature", above=30, name="Hot", text="Open a window")
        everybody = staff_client("everybody", ALARMS, RULES, "alarms.acknowledge_alarm", READ)
        page = carried(everybody, "/alarms/", "alarms")
        assert {"id": rule.pk, "name": "Hot", "text": "Open a window"} in page["rules"]
        assert (page["acknowledges"], page["links"]) == (True, True)
        page = carried(staff_client("viewer", ALARMS), "/alarms/", "alarms")
        assert page["rules"] == []
        assert (page["acknowledges"], page["links"]) == (False, False)

    def test_only_who_may_is_led_to_the_rules(self, db):
        viewer = html_of(staff_client("viewer", ALARMS), "/alarms/")
        manager = html_of(staff_client("manager", ALARMS, RULES, MANAGE), "/alarms/")
        for address in ("/alarms/rules/", "/alarms/rules/new"):
            assert f'href="{address}"' not in viewer
            assert f'href="{address}"' in manager

    def test_it_knows_what_is_muted(self, device, other_device):
        rule = make_rule(metric="temperature", above=30)
        until = timezone.now() + timedelta(hours=1)
        mute_rule(rule, until)
        mute_device(device, until)
        mute_device(other_device[0], timezone.now() - timedelta(hours=1))
        page = carried(staff_client("viewer", ALARMS, RULES), "/alarms/", "alarms")
        assert page["muted"] == [["mote-1", rfc3339(until)]]
        assert page["muted_rules"] == [[rule.pk, rfc3339(until)]]

    def test_it_can_ask_again_what_is_muted(self, device, other_device):
        rule = make_rule(metric="temperature", above=30)
        everybody, viewer = staff_client("everybody", ALARMS, RULES, "devices.view_tag"), staff_client("viewer", ALARMS)
        assert everybody.get("/alarms/-/mutes").json() == {"muted_rules": [], "muted": [], "muted_tags": []}
        few = queries(everybody, "/alarms/-/mutes")
        until = timezone.now() + timedelta(hours=1)
        mute_rule(rule, until)
        mute_device(device, until)
        mute_tag(give(other_device[0], "roof"), until)
        mute = rfc3339(until)
        devices = {"muted": [["mote-1", mute]]}
        expected = devices | {"muted_rules": [[rule.pk, mute]], "muted_tags": [["mote-2", "roof", mute]]}
        assert everybody.get("/alarms/-/mutes").json() == expected
        assert viewer.get("/alarms/-/mutes").json() == devices | {"muted_rules": [], "muted_tags": []}
        assert queries(everybody, "/alarms/-/mutes") <= few + 1

    def test_it_offers_the_tags_of_devices_and_knows_which_are_muted(self, device, other_device):
        roof, attic = give(other_device[0], "roof"), give(device, "attic")
        Tag.objects.create(name="empty", key="empty", colour="red")
        alarm_of("mote-2")
        until = timezone.now() + timedelta(hours=1)
        mute_tag(attic, until)
        mute_tag(roof, timezone.now() - timedelta(hours=1))
        page = carried(staff_client("viewer", ALARMS, "devices.view_tag"), "/alarms/", "alarms")
        assert page["tags"] == [["roof", roof.colour], ["attic", attic.colour]]
        assert page["muted_tags"] == [["mote-1", "attic", rfc3339(until)]]
        page = carried(staff_client("other", ALARMS), "/alarms/", "alarms")
        assert page["tags"] == page["muted_tags"] == []

    def test_it_says_how_to_get_the_first_message_until_there_is_a_channel(self, db):
        manager = staff_client("manager", ALARMS, RULES, MANAGE)
        assert "No messages are sent yet" in html_of(manager, "/alarms/")
        assert "No messages are sent yet" not in html_of(staff_client("viewer", ALARMS, RULES), "/alarms/")
        channel = make_channel()
        assert "Choose a channel in a" in html_of(manager, "/alarms/")
        rule = make_rule(metric="temperature", above=30, channels=[channel.pk])
        assert "No messages are sent yet" not in html_of(manager, "/alarms/")
        Rule.objects.filter(pk=rule.pk).update(is_active=False)
        assert "Choose a channel in a" in html_of(manager, "/alarms/")

    def test_it_says_so_while_no_rule_is_on(self, db):
        viewer = staff_client("viewer", ALARMS, RULES)
        assert "nothing is watched" in html_of(viewer, "/alarms/")
        make_rule(metric="temperature", above=30)
        assert "nothing is watched" not in html_of(viewer, "/alarms/")

    def test_it_costs_the_same_queries_however_many_rules_there_are(self, db):
        viewer = staff_client("viewer", ALARMS, RULES)
        few = queries(viewer, "/alarms/")
        for _ in range(20):
            make_rule(metric="temperature", above=30)
        assert queries(viewer, "/alarms/") == few


class TestRules:
    def test_it_carries_how_many_alarms_of_each_rule_are_open(self, device):
        alarm = alarm_of("mote-1")
        manager = staff_client("manager", ALARMS, RULES, MANAGE, "alarms.acknowledge_alarm")
        page = carried(manager, "/alarms/rules/", "rules")
        assert (page["open"], page["manages"], page["mutes"]) == ({str(alarm.rule_id): 1}, True, True)

    def test_who_may_only_look_sees_neither_alarms_nor_controls(self, device):
        alarm_of("mote-1")
        page = carried(staff_client("viewer", RULES), "/alarms/rules/", "rules")
        assert (page["open"], page["manages"], page["mutes"]) == ({}, False, False)

    def test_it_costs_the_same_queries_however_many_alarms_there_are(self, db):
        viewer = staff_client("viewer", ALARMS, RULES)
        few = queries(viewer, "/alarms/rules/")
        alarms_of_many(20)
        assert queries(viewer, "/alarms/rules/") == few


class TestForm:
    def test_a_new_rule_offers_the_metrics_devices_and_channels_that_there_are(self, device, other_device):
        store([new(temperature=20, extra={"co2": 400})])
        channel = make_channel()
        page = carried(staff_client("manager", MANAGE), "/alarms/rules/new", "page")
        assert page["id"] is None
        assert page["metrics"] == ["temperature", "humidity", "co2", "voltage"]
        assert page["catalogue"]["co2"][:2] == ["CO₂", "ppm"]
        assert page["devices"] == [["mote-1", "North window"]]
        assert page["channels"] == [{"id": channel.pk, "name": channel.name}]

    def test_it_names_the_rule_to_change(self, device):
        rule = make_rule(metric="temperature", above=30, name="Hot")
        manager = staff_client("manager", MANAGE)
        assert carried(manager, f"/alarms/rules/{rule.pk}/", "page")["id"] == rule.pk
        assert "<h1>Hot</h1>" in html_of(manager, f"/alarms/rules/{rule.pk}/")

    def test_of_a_rule_that_is_gone_there_is_no_form(self, db):
        rule = make_rule(metric="temperature", above=30)
        Rule.objects.filter(pk=rule.pk).update(deleted_at=at(0))
        manager = staff_client("manager", MANAGE)
        assert manager.get(f"/alarms/rules/{rule.pk}/").status_code == 404
        assert manager.get("/alarms/rules/0/").status_code == 404

    def test_it_costs_the_same_queries_however_many_devices_there_are(self, db):
        manager = staff_client("manager", MANAGE)
        few = queries(manager, "/alarms/rules/new")
        store([new(device_id) for device_id in make_devices(40)])
        assert queries(manager, "/alarms/rules/new") <= few + 1


class TestOtherPages:
    def test_the_fleet_marks_devices_for_those_who_may_see_alarms(self, device, other_device):
        alarm_of("mote-1", rule=make_rule(metric="temperature", above=30, severity="critical"))
        assert carried(staff_client("viewer", READ, ALARMS), "/live/", "fleet")["alarms"] == {"mote-1": [1, "critical"]}
        assert carried(staff_client("watcher", READ), "/live/", "fleet")["alarms"] is None

    def test_the_fleet_costs_the_same_queries_however_many_alarms_there_are(self, device):
        viewer = staff_client("viewer", READ, ALARMS)
        few = queries(viewer, "/live/")
        alarms_of_many(40)
        assert queries(viewer, "/live/") == few

    def test_a_device_has_the_thresholds_of_the_rules_that_apply_to_it(self, device, other_device):
        make_rule(metric="temperature", above=30, below=5, severity="critical")
        make_rule(metric="humidity", above=80, devices=("mote-2",))
        make_rule(metric="voltage", below=3, is_active=False)
        viewer = staff_client("viewer", READ, ALARMS, RULES)
        (rule,) = carried(viewer, "/live/mote-1/", "device")["alarms"]["rules"]
        assert [rule[name] for name in ("metric", "above", "below", "severity")] == ["temperature", 30, 5, "critical"]
        assert len(carried(viewer, "/live/mote-2/", "device")["alarms"]["rules"]) == 2

    def test_a_device_knows_its_mutes_and_those_of_its_tags(self, device):
        until = timezone.now() + timedelta(hours=1)
        give(device, "attic")
        mute_tag(give(device, "roof"), until)
        mute_device(device, until)
        operator = staff_client("operator", READ, ALARMS, "alarms.acknowledge_alarm", "devices.view_tag")
        alarms = carried(operator, "/live/mote-1/", "device")["alarms"]
        assert (alarms["acknowledges"], alarms["muted_until"]) == (True, rfc3339(until))
        assert alarms["muted_tags"] == {"attic": None, "roof": rfc3339(until)}
        assert carried(staff_client("viewer", READ, ALARMS), "/live/mote-1/", "device")["alarms"]["muted_tags"] == {}

    @pytest.mark.parametrize(("more", "allowed"), [((), "false"), (("alarms.acknowledge_alarm",), "true")])
    def test_only_who_may_mute_gets_the_button_on_the_page_of_a_tag(self, device, more, allowed):
        assert f'id="tag-mutes" data-allowed="{allowed}"' in html_of(staff_client("one", READ, ALARMS, *more), "/live/")

    def test_a_limited_account_is_offered_mutes_of_the_tags_of_its_limit_alone(self, device):
        roof = give(device, "Roof")
        give(device, "attic")
        limited = staff_client("limited", READ, ALARMS, "alarms.acknowledge_alarm", "devices.view_tag")
        pages = (("/alarms/", "alarms"), ("/live/", "fleet"), ("/live/mote-1/", "device"))
        for limit in (None, ["Roof"]):
            if limit:
                AccountTag.objects.create(user=User.objects.get(username="limited"), tag=roof)
            for path, element in pages:
                page = carried(limited, path, element)
                assert (page["alarms"] if element == "device" else page)["limit"] == limit

    def test_a_device_has_no_alarms_for_those_who_may_not_see_them(self, device):
        alarm_of("mote-1")
        watcher = staff_client("watcher", READ)
        assert "alarms" not in carried(watcher, "/live/mote-1/", "device")
        assert 'id="alarms"' not in html_of(watcher, "/live/mote-1/")
        assert carried(staff_client("viewer", READ, ALARMS), "/live/mote-1/", "device")["alarms"]["rules"] == []

    def test_the_overview_shows_the_most_severe_first(self, device):
        viewer = staff_client("viewer", ALARMS)
        assert "open alarm" not in html_of(viewer, "/admin/")
        for n, severity in enumerate(("warning", "critical", "info", *["info"] * 4)):
            alarm_of("mote-1", rule=make_rule(metric="temperature", above=30, name=f"Rule {n}", severity=severity))
        page = html_of(viewer, "/admin/")
        assert "7 open alarms</h2>" in page
        assert re.findall(r"<b>(Rule \d)</b>", page)[:2] == ["Rule 1", "Rule 0"]
        assert len(re.findall(r"<b>Rule \d</b>", page)) == 5
        Alarm.objects.exclude(rule__severity="critical").delete()
        assert "1 open alarm</h2>" in html_of(viewer, "/admin/")
        assert "open alarm" not in html_of(staff_client("other", READ), "/admin/")

    def test_names_are_shown_as_text_whatever_they_are(self, db):
        Device.objects.register(device_id="sly", name="</script><script>alert(1)</script>")
        alarm_of("sly", rule=make_rule(metric="temperature", above=30, name="</script><script>alert(2)</script>"))
        everything = staff_client("viewer", READ, ALARMS, RULES, MANAGE)
        for path in ("/alarms/", "/alarms/rules/", "/admin/", "/live/sly/"):
            assert "<script>alert" not in html_of(everything, path)

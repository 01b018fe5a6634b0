"""`/devices/{device_id}/mute` and `/alarm-rules/{id}/mute`."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from devices.tests.fixtures import problem, staff_client
from devices.times import rfc3339
from readings.alarms.models import DeviceMute, Rule
from readings.alarms.tests.rules import make_rule

pytestmark = pytest.mark.django_db

DEVICE = "/api/v1/devices/mote-1/mute"


def test_a_device_is_muted_until_a_time_and_heard_again(admin, device):
    until = rfc3339(timezone.now() + timedelta(hours=2))

    assert admin.get(DEVICE).json() == {"muted_until": None}
    assert admin.put(DEVICE, {"until": until}).json() == {"muted_until": until}
    assert admin.put(DEVICE, {"until": until}).json() == {"muted_until": until}
    assert admin.get(DEVICE).json() == {"muted_until": until}
    assert admin.delete(DEVICE).status_code == 204
    assert admin.delete(DEVICE).status_code == 204
    assert admin.get(DEVICE).json() == {"muted_until": None}
    changes = [entry.change_message for entry in LogEntry.objects.order_by("id")]
    assert changes == [f"Muted its alarms until {until[:10]} {until[11:16]} UTC.", "Ended the mute of its alarms."]


def test_a_mute_that_has_passed_is_none(admin, device):
    DeviceMute.objects.create(device=device, until=timezone.now() - timedelta(seconds=1))

    assert admin.get(DEVICE).json() == {"muted_until": None}


def test_a_rule_is_muted_and_its_judging_goes_on(admin, device):
    rule = make_rule(metric="temperature", above=30)
    address = f"/api/v1/alarm-rules/{rule.pk}"
    judged_since = rule.judged_since

    muted = admin.put(f"{address}/mute", {"until": "+2h"}).json()["muted_until"]
    assert admin.get(address).json()["muted_until"] == muted
    assert admin.delete(f"{address}/mute").status_code == 204
    assert admin.get(address).json()["muted_until"] is None
    assert Rule.objects.get(pk=rule.pk).judged_since == judged_since
    assert LogEntry.objects.count() == 2


@pytest.mark.once
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"until": None}, "null"),
        ({"until": 5}, "invalid"),
        ({"until": "soon"}, "invalid_time"),
        ({"until": "-1s"}, "in_the_past"),
        ({"until": "+367d"}, "too_far"),
        ({"until": "+1h", "why": "x"}, "unknown_field"),
    ],
)
def test_a_mute_needs_a_time_ahead(admin, device, body, code):
    rule = make_rule(metric="temperature", above=30)

    for address in (DEVICE, f"/api/v1/alarm-rules/{rule.pk}/mute"):
        assert problem(admin.put(address, body), 422)["errors"][0]["code"] == code


def test_operators_mute_and_do_not_change_rules(device):
    operator = staff_client("operator", "alarms.acknowledge_alarm", "alarms.view_alarm")
    rule = make_rule(metric="temperature", above=30)

    assert operator.put(DEVICE, {"until": "+1h"}).status_code == 200
    assert operator.put(f"/api/v1/alarm-rules/{rule.pk}/mute", {"until": "+1h"}).status_code == 200
    problem(operator.patch(f"/api/v1/alarm-rules/{rule.pk}", {"muted_until": None}), 403)

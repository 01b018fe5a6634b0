"""`/devices/{device_id}/mute`, `/tags/{name}/mute` and `/alarm-rules/{id}/mute`."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse
from django.utils import timezone

from devices.tests.fixtures import problem, staff_client, token_client
from devices.times import rfc3339
from readings.alarms.models import DeviceMute, Rule, TagMute
from readings.alarms.tests.rules import give, make_rule

pytestmark = pytest.mark.django_db

DEVICE = "/api/v1/devices/mote-1/mute"
TAG = "/api/v1/tags/roof/mute"


@pytest.fixture
def tagged(device):
    return give(device, "Roof")


@pytest.mark.parametrize("address", [DEVICE, TAG])
def test_a_device_or_tag_is_muted_until_a_time_and_heard_again(admin, tagged, address):
    until = rfc3339(timezone.now() + timedelta(hours=2))

    assert admin.get(address).json() == {"muted_until": None}
    assert admin.put(address, {"until": until}).json() == {"muted_until": until}
    assert admin.put(address, {"until": until}).json() == {"muted_until": until}
    assert admin.get(address).json() == {"muted_until": until}
    assert admin.delete(address).status_code == 204
    assert admin.delete(address).status_code == 204
    assert admin.get(address).json() == {"muted_until": None}
    changes = [entry.change_message for entry in LogEntry.objects.order_by("id")]
    assert changes == [f"Muted its alarms until {until[:10]} {until[11:16]} UTC.", "Ended the mute of its alarms."]


def test_a_mute_that_has_passed_is_none(admin, device, tagged):
    DeviceMute.objects.create(device=device, until=timezone.now() - timedelta(seconds=1))
    TagMute.objects.create(tag=tagged, until=timezone.now() - timedelta(seconds=1))

    assert admin.get(DEVICE).json() == admin.get(TAG).json() == {"muted_until": None}


def test_there_is_no_mute_of_a_tag_that_does_not_exist(admin, db):
    for call in (admin.get, admin.delete):
        problem(call("/api/v1/tags/cellar/mute"), 404)
    problem(admin.put("/api/v1/tags/cellar/mute", {"until": "+1h"}), 404)


@pytest.mark.parametrize("method", ["put", "delete"])
def test_a_caller_limited_to_tags_mutes_only_those(device, tagged, method):
    give(device, "Cellar")
    limited = token_client("manage", tags=["Cellar"])

    answer = getattr(limited, method)(TAG, {"until": "+1h"})

    assert problem(answer, 403)["code"] == "outside_limit"
    assert getattr(limited, method)("/api/v1/tags/cellar/mute", {"until": "+1h"}).status_code in (200, 204)
    assert list(TagMute.objects.values_list("tag__name", flat=True)) == (["Cellar"] if method == "put" else [])


def test_a_tag_that_is_deleted_is_muted_no_more(admin, tagged):
    admin.put(TAG, {"until": "+1h"})
    assert admin.delete("/api/v1/tags/roof").status_code == 204

    assert not TagMute.objects.exists()


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
def test_a_mute_needs_a_time_ahead(admin, tagged, body, code):
    rule = make_rule(metric="temperature", above=30)

    for address in (DEVICE, TAG, f"/api/v1/alarm-rules/{rule.pk}/mute"):
        assert problem(admin.put(address, body), 422)["errors"][0]["code"] == code


def test_operators_mute_and_do_not_change_rules(tagged):
    operator = staff_client("operator", "alarms.acknowledge_alarm", "alarms.view_alarm")
    rule = make_rule(metric="temperature", above=30)

    for address in (DEVICE, TAG):
        assert operator.put(address, {"until": "+1h"}).status_code == 200
    assert operator.put(f"/api/v1/alarm-rules/{rule.pk}/mute", {"until": "+1h"}).status_code == 200
    problem(operator.patch(f"/api/v1/alarm-rules/{rule.pk}", {"muted_until": None}), 403)


@pytest.mark.parametrize("model", [DeviceMute, TagMute])
def test_the_console_lists_mutes_and_ends_them(device, tagged, model):
    until = timezone.now() + timedelta(hours=1)
    about = device if model is DeviceMute else tagged
    model.objects.create(pk=about.device_id if model is DeviceMute else about.pk, until=until)
    address = reverse(f"admin:alarms_{model._meta.model_name}_changelist")
    viewer = staff_client("viewer", "alarms.view_alarm")
    operator = staff_client("operator", "alarms.acknowledge_alarm", "alarms.view_alarm")
    pk = model.objects.get().pk

    assert f"{until:%Y-%m-%d %H:%M}" in viewer.get(address).content.decode()
    assert "End the mute" not in viewer.get(address).content.decode()
    answer = operator.post(address, {"action": "end_mutes", "_selected_action": [pk]}, format="multipart", follow=True)
    assert "1 mute ended." in answer.content.decode()
    assert not model.objects.exists()
    assert LogEntry.objects.get().change_message == "Ended the mute of its alarms."
    assert staff_client("nobody").get(address).status_code == 403

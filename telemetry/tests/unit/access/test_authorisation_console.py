"""Authorisation in the console: every route of the admin site with every kind of caller.

API keys are not accepted there. Every caller sends a GET, and callers without the right to change also a POST.
"""

import uuid

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, User
from django.contrib.contenttypes.models import ContentType
from django.urls import reverse
from django.utils import timezone

from devices.models import ApiToken, Device, Tag
from devices.tests.examples import ALL
from readings.alarms.tests.delivery.channels import channel, delivery
from readings.alarms.tests.rules import alarm_of
from readings.ingest.refused_posts import Times, keep, refused_post
from readings.models import Reading, Rejection
from telemetry.tests.support.clients.callers import World
from telemetry.tests.support.routes import routes

pytestmark = [pytest.mark.django_db, pytest.mark.once]

# Cells are statuses of a GET; `staff` has only the permissions at the end of the row, `without` has all others.
MATRIX = """
route                       no-  own  admin visi- clos- with- staff mem- root
                            body key  key   tor   ed    out         ber
index                       302  302  302   302   302   200   200   200  200
login                       200  200  200   200   200   302   302   302  302
logout                      302  302  302   302   302   405   405   405  405
set_password                200  200  200   200   200   200   200   200  200
password_change             302  302  302   302   302   200   200   200  200
password_change_done        302  302  302   302   302   200   200   200  200
jsi18n                      302  302  302   302   302   200   200   200  200
autocomplete                302  302  302   302   302   403   403   403  403
view_on_site                302  302  302   302   302   403   302   302  302 devices.view_device
app_list                    302  302  302   302   302   200   200   200  200 devices.view_device
nothing                     302  302  302   302   302   404   404   404  404
devices_device_changelist   302  302  302   302   302   403   200   200  200 devices.view_device
devices_device_add          302  302  302   302   302   403   200   200  200 devices.add_device
devices_device_add_several  302  302  302   302   302   403   200   200  200 devices.add_device
devices_device_change       302  302  302   302   302   403   200   200  200 devices.view_device
devices_device_rotate_key   302  302  302   302   302   403   200   200  200 devices.change_device
devices_device_new_keys     302  302  302   302   302   410   410   410  410 devices.change_device
devices_device_keys_csv     302  302  302   302   302   410   410   410  410 devices.change_device
devices_device_labels       302  302  302   302   302   410   410   410  410 devices.change_device
devices_device_history      302  302  302   302   302   403   200   200  200 devices.view_device+admin.view_logentry
devices_device_delete       302  302  302   302   302   403   403   403  403 devices.delete_device
devices_apitoken_changelist 302 302 302   302   302   403   200   200  200 devices.view_apitoken
devices_apitoken_add        302  302  302   302   302   403   200   200  200 devices.add_apitoken
devices_apitoken_change     302  302  302   302   302   403   200   200  200 devices.view_apitoken
devices_apitoken_history    302  302  302   302   302   403   200   200  200 devices.view_apitoken+admin.view_logentry
devices_apitoken_delete     302  302  302   302   302   403   200   200  200 devices.delete_apitoken
devices_apitoken_token      302  302  302   302   302   403   410   410  410 devices.add_apitoken
devices_tag_changelist      302  302  302   302   302   403   200   200  200 devices.view_tag
devices_tag_add             302  302  302   302   302   403   200   200  200 devices.add_tag
devices_tag_change          302  302  302   302   302   403   200   200  200 devices.view_tag
devices_tag_history         302  302  302   302   302   403   200   200  200 devices.view_tag+admin.view_logentry
devices_tag_delete          302  302  302   302   302   403   200   200  200 devices.delete_tag
readings_reading_changelist 302  302  302   302   302   403   200   200  200 readings.view_reading
readings_reading_add        302  302  302   302   302   403   403   403  403 readings.add_reading
readings_reading_change     302  302  302   302   302   403   200   200  200 readings.view_reading
readings_reading_history    302  302  302   302   302   403   200   200  200 readings.view_reading+admin.view_logentry
readings_reading_delete     302  302  302   302   302   403   403   403  403 readings.delete_reading
readings_rejection_changelist 302 302 302   302   302   403   200   200  200 readings.view_rejection
readings_rejection_add      302  302  302   302   302   403   403   403  403 readings.add_rejection
readings_rejection_change   302  302  302   302   302   403   200   200  200 readings.view_rejection
readings_rejection_history  302  302  302   302   302   403   200   200  200 readings.view_rejection+admin.view_logentry
readings_rejection_delete   302  302  302   302   302   403   403   403  403 readings.delete_rejection
readings_metric_changelist  302  302  302   302   302   403   200   200  200 readings.view_metric
readings_metric_add         302  302  302   302   302   403   403   403  403 readings.change_metric
readings_metric_change      302  302  302   302   302   403   200   200  200 readings.view_metric
readings_metric_history     302  302  302   302   302   403   200   200  200 readings.view_metric+admin.view_logentry
readings_metric_delete      302  302  302   302   302   403   403   403  403 readings.change_metric
alarms_alarm_changelist     302  302  302   302   302   403   200   200  200 alarms.view_alarm
alarms_alarm_add            302  302  302   302   302   403   403   403  403 alarms.view_alarm
alarms_alarm_change         302  302  302   302   302   403   200   200  200 alarms.view_alarm
alarms_alarm_history        302  302  302   302   302   403   200   200  200 alarms.view_alarm+admin.view_logentry
alarms_alarm_delete         302  302  302   302   302   403   403   403  403 alarms.view_alarm
alarms_rule_changelist      302  302  302   302   302   403   200   200  200 alarms.view_rule
alarms_rule_add             302  302  302   302   302   403   403   403  403 alarms.view_rule
alarms_rule_change          302  302  302   302   302   403   200   200  200 alarms.view_rule
alarms_rule_history         302  302  302   302   302   403   200   200  200 alarms.view_rule+admin.view_logentry
alarms_rule_delete          302  302  302   302   302   403   403   403  403 alarms.view_rule
alarms_channel_changelist   302  302  302   302   302   403   200   200  200 alarms.manage_rules
alarms_channel_add          302  302  302   302   302   403   200   200  200 alarms.manage_rules
alarms_channel_change       302  302  302   302   302   403   200   200  200 alarms.manage_rules
alarms_channel_history      302  302  302   302   302   403   200   200  200 alarms.manage_rules+admin.view_logentry
alarms_channel_delete       302  302  302   302   302   403   200   200  200 alarms.manage_rules
alarms_channel_test         302  302  302   302   302   405   405   405  405 alarms.manage_rules
alarms_channel_new_secret   302  302  302   302   302   405   405   405  405 alarms.manage_rules
alarms_channel_secret       302  302  302   302   302   403   410   410  410 alarms.manage_rules
alarms_delivery_changelist  302  302  302   302   302   403   200   200  200 alarms.manage_rules
alarms_delivery_add         302  302  302   302   302   403   403   403  403 alarms.manage_rules
alarms_delivery_change      302  302  302   302   302   403   200   200  200 alarms.manage_rules
alarms_delivery_history     302  302  302   302   302   403   200   200  200 alarms.manage_rules+admin.view_logentry
alarms_delivery_delete      302  302  302   302   302   403   403   403  403 alarms.manage_rules
alarms_devicemute_changelist 302  302  302   302   302   403   200   200  200 alarms.view_alarm
alarms_devicemute_add       302  302  302   302   302   403   403   403  403 alarms.view_alarm
alarms_devicemute_change    302  302  302   302   302   403   302   302  302 alarms.view_alarm
alarms_devicemute_history   302  302  302   302   302   403   302   302  302 alarms.view_alarm+admin.view_logentry
alarms_devicemute_delete    302  302  302   302   302   403   403   403  403 alarms.view_alarm
alarms_tagmute_changelist   302  302  302   302   302   403   200   200  200 alarms.view_alarm
alarms_tagmute_add          302  302  302   302   302   403   403   403  403 alarms.view_alarm
alarms_tagmute_change       302  302  302   302   302   403   302   302  302 alarms.view_alarm
alarms_tagmute_history      302  302  302   302   302   403   302   302  302 alarms.view_alarm+admin.view_logentry
alarms_tagmute_delete       302  302  302   302   302   403   403   403  403 alarms.view_alarm
admin_logentry_changelist   302  302  302   302   302   403   200   200  200 admin.view_logentry
admin_logentry_add          302  302  302   302   302   403   403   403  403 admin.add_logentry
admin_logentry_change       302  302  302   302   302   403   200   200  200 admin.view_logentry+devices.view_device
admin_logentry_history      302  302  302   302   302   403   200   200  200 admin.view_logentry+devices.view_device
admin_logentry_delete       302  302  302   302   302   403   403   403  403 admin.delete_logentry
auth_user_changelist        302  302  302   302   302   403   200   200  200 auth.view_user
auth_user_add               302  302  302   302   302   403   403   403  200 auth.add_user
auth_user_link              302  302  302   302   302   403   410   410  410 auth.add_user+auth.change_user
auth_user_new_link          302  302  302   302   302   405   405   405  405 auth.change_user
auth_user_change            302  302  302   302   302   403   200   200  200 auth.view_user
auth_user_password_change   302  302  302   302   302   403   200   200  200 auth.change_user
auth_user_history           302  302  302   302   302   403   200   200  200 auth.view_user+admin.view_logentry
auth_user_delete            302  302  302   302   302   403   200   200  200 auth.delete_user
auth_group_changelist       302  302  302   302   302   403   200   200  200 auth.view_group
auth_group_add              302  302  302   302   302   403   200   200  200 auth.add_group
auth_group_change           302  302  302   302   302   403   200   200  200 auth.view_group
auth_group_history          302  302  302   302   302   403   200   200  200 auth.view_group+admin.view_logentry
auth_group_delete           302  302  302   302   302   403   200   200  200 auth.delete_group
"""
SIGNED_OUT = ("nobody", "own", "admin", "visitor", "closed")
CALLERS = (*SIGNED_OUT, "without", "staff", "member", "root")

ROWS = [line.split() for line in MATRIX.strip().splitlines()[2:]]
PERMISSIONS = {name: rest[0] for name, *cells in ROWS if (rest := cells[len(CALLERS) :])}
CELLS = [
    pytest.param(name, caller, int(status), id=f"{name}-{caller}")
    for name, *cells in ROWS
    for caller, status in zip(CALLERS, cells, strict=False)
]
# Routes without a name: the site's catch-all route, and redirects from an id to the object's page.
NAMELESS = {"nothing": "/admin/nothing/"}


def named(name):
    return name.removeprefix("admin:")


def console_routes():
    return {named(route.name) for route in routes() if route.name.startswith("admin:")}


def url(name, world):
    if name in NAMELESS:
        return NAMELESS[name]
    if name == "app_list":
        return reverse("admin:app_list", kwargs={"app_label": "devices"})
    if name == "view_on_site":
        content_type = ContentType.objects.get_for_model(Device)
        return reverse("admin:view_on_site", args=[content_type.pk, world.mote.pk])
    if name == "set_password":
        return reverse("admin:set_password", args=["MQ", "no-token"])
    if name in ("alarms_channel_secret", "devices_apitoken_token", "auth_user_link"):
        return reverse(f"admin:{name}", args=["nothing-kept"])
    if name in (
        "devices_device_new_keys",
        "devices_device_keys_csv",
        "devices_device_labels",
    ):  # `without` may add devices, which is enough
        return reverse(f"admin:{name}", args=["nothing-kept"])
    words = name.split("_")
    if len(words) > 2 and words[2] in ("change", "history", "delete", "rotate", "password", "test", "new"):
        return reverse(f"admin:{name}", args=[object_of(words[1])])
    return reverse(f"admin:{name}")


def object_of(model):
    if model == "group":
        return Group.objects.get_or_create(name="operators")[0].pk
    if model == "user":
        return User.objects.get_or_create(username="colleague", is_superuser=False)[0].pk
    if model == "apitoken":
        made = {"token_hash": "x", "scopes": "read", "created_at": timezone.now()}
        return ApiToken.objects.get_or_create(name="Mine", defaults=made)[0].pk
    if model == "tag":
        return Tag.objects.get(key="greenhouse-3").pk
    if model.endswith("mute"):
        return 1
    if model in ("channel", "delivery"):
        return (channel() if model == "channel" else delivery()).pk
    if model in ("alarm", "rule"):
        alarm = alarm_of("mote-1")
        return alarm.pk if model == "alarm" else alarm.rule_id
    if model == "metric":
        return "temperature"
    if model == "rejection":
        now = timezone.now()
        keep(
            {refused_post(caller="device", device_id="mote-1", address="", status=422, code="x", detail=""): Times(now)}
        )
        return Rejection.objects.get().pk
    if model == "logentry":
        kind = ContentType.objects.get_for_model(Device)
        colleague = object_of("user")
        known = {"user_id": colleague, "content_type": kind, "action_flag": CHANGE, "object_repr": "mote-1"}
        return LogEntry.objects.get_or_create(**known)[0].pk
    return Device.objects.get(device_id="mote-1").pk if model == "device" else "mote-1~1"


def world_of(name):
    return World(PERMISSIONS.get(name), sorted({one for needed in PERMISSIONS.values() for one in needed.split("+")}))


def test_every_route_has_a_row():
    assert console_routes() == {name for name, *_ in ROWS} - NAMELESS.keys()


@pytest.mark.parametrize(("name", "caller", "expected"), CELLS)
@pytest.mark.slow
def test_the_matrix(name, caller, expected):
    world = world_of(name)
    client = world.client(caller)

    response = client.get(url(name, world))

    assert response.status_code == expected
    if expected == 302 and caller in SIGNED_OUT and name != "logout":
        assert response["Location"].startswith("/admin/login/?next=")


@pytest.mark.examples
@pytest.mark.parametrize("caller", [*SIGNED_OUT, "no_csrf", "foreign"] if ALL else ["nobody", "no_csrf"])
def test_who_has_no_session_or_no_token_changes_nothing(caller):
    world = world_of("devices_device_change")
    client = world.client(caller)
    before = fingerprint()

    for name, *_ in ROWS:
        assert client.post(url(name, world), {"post": "yes", "username": uuid.uuid4().hex}).status_code in (
            302,
            403,
            200,
        )

    assert fingerprint() == before


def fingerprint():
    """All data that the console can change."""
    object_of("user")
    object_of("group")
    return [
        *Device.objects.order_by("pk").values_list(),
        *Tag.objects.order_by("pk").values_list(),
        *User.objects.order_by("pk").values_list("pk", "username", "password", "is_active", "is_staff", "is_superuser"),
        *Group.objects.order_by("pk").values_list(),
        *Reading.objects.order_by("pk").values_list(),
    ]

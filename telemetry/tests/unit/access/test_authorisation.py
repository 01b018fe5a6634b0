"""Authorisation: every route and method with every kind of caller (`telemetry.tests.support.clients.callers`).

A route that is missing in the matrix fails the first test. The console's own routes have a
matrix in `test_authorisation_console`, the sockets in `test_authorisation_sockets`.
"""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.generators import SchemaGenerator
from msgspec import json

from devices.models import ApiToken
from devices.tests.examples import ALL
from devices.tests.fixtures import ADMIN_KEY, problem, staff_client
from readings.alarms.tests.delivery.channels import channel
from readings.alarms.tests.rules import alarm_of
from realtime.models import Share, View
from telemetry.tests.support.clients.callers import World
from telemetry.tests.support.routes import routes

pytestmark = [pytest.mark.django_db, pytest.mark.once]


@pytest.fixture(autouse=True)
def every_door(settings):
    settings.DOORS = ["influx", "lorawan", "thingsboard"]


@pytest.fixture(autouse=True)
def no_schema(monkeypatch):
    """The OpenAPI document, which takes half a second to make, is empty here: it has tests of its own."""
    monkeypatch.setattr(SchemaGenerator, "get_schema", lambda *_, **__: {})


# Cells are statuses; `else` stands for all other methods that the view accepts. The end of a row is the permission that
# an account needs: `staff` has only this one, `without` has all others.
MATRIX = """
route             method no- bad in  own oth ret ret in- fle ad- sta mem wi- ro- vi- clo no  fo-
                         one key url key er  ir- ir- act et  min ff  ber th- ot  sit sed cs- re-
                                             ing ed  ive                 out     or      rf  ign
start             GET    302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302
start             else   302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 403 403
favicon           GET    302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302
favicon           else   302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 302 403 403
health            GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
health-live       GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
health-ready      GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
api-health        GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
metrics           GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 READ_METRICS
schema            GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
docs              GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
redoc             GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
guide             GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
live-fleet        GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 readings.view_reading
live-sparklines   GET    302 302 302 302 302 302 302 302 302 302 400 400 403 400 302 302 400 400 readings.view_reading
live-tags         GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 devices.view_tag
live-refused      GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 readings.view_rejection
live-device       GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 readings.view_reading
alarms            GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 alarms.view_alarm
alarm-counts      GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 alarms.view_alarm
alarm-mutes       GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 alarms.view_alarm
alarm-rules       GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 alarms.view_rule
alarm-rule-new    GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 alarms.manage_rules
alarm-rule        GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 alarms.manage_rules
ingest            POST   401 401 401 201 403 201 401 401 201 403 401 401 401 401 401 401 401 401
ingest-batch      POST   401 401 401 201 422 201 401 401 201 403 401 401 401 401 401 401 401 401
influx-write      POST   401 401 401 204 204 204 401 401 204 403 401 401 401 401 401 401 401 401
influx-write-v1   POST   401 401 401 204 204 204 401 401 204 403 401 401 401 401 401 401 401 401
influx-query      POST   401 401 401 200 200 200 401 401 200 403 401 401 401 401 401 401 401 401
influx-ping       GET    204 204 204 204 204 204 204 204 204 204 204 204 204 204 204 204 204 204
lorawan-ttn       POST   401 401 401 200 200 200 401 401 200 403 401 401 401 401 401 401 401 401
lorawan-chirpstack POST  401 401 401 200 200 200 401 401 200 403 401 401 401 401 401 401 401 401
thingsboard       POST   401 401 401 401 401 401 401 401 401 401 401 401 401 401 401 401 401 401
thingsboard-attributes POST   401 401 401 401 401 401 401 401 401 401 401 401 401 401 401 401 401 401
device-list       GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 devices.view_device
device-list       POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 devices.add_device
device-import     POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 devices.add_device
device-detail     GET    401 401 401 200 404 200 401 401 403 200 200 200 403 200 403 401 200 200 devices.view_device
device-detail     PATCH  401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 devices.change_device
device-detail     DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 devices.delete_device
device-rotate-key POST   401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 devices.change_device
change-list       GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 admin.view_logentry
token-list        GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 devices.view_apitoken
token-list        POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 devices.add_apitoken
token-detail      DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 devices.delete_apitoken
tag-list          GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 devices.view_tag
tag-list          POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 devices.add_tag
tag-detail        GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 devices.view_tag
tag-detail        PATCH  401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 devices.change_tag
tag-detail        DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 devices.delete_tag
device-history    GET    401 401 401 200 404 200 401 401 403 200 200 200 403 200 403 401 200 200 readings.view_reading
device-aggregate  GET    401 401 401 200 404 200 401 401 403 200 200 200 403 200 403 401 200 200 readings.view_reading
device-latest     GET    401 401 401 200 404 200 401 401 403 200 200 200 403 200 403 401 200 200 readings.view_reading
aggregate         GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 readings.view_reading
history           GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 readings.view_reading
explore           GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 readings.view_reading
explore-devices   GET    302 302 302 302 302 302 302 302 302 302 200 200 403 200 302 302 200 200 readings.view_reading
view-list         GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 realtime.view_view
view-list         POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 realtime.add_view
view-detail       DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 realtime.delete_view
share-list        GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 realtime.view_share
share-list        POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 realtime.add_share
share-list        DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 realtime.delete_share
share-detail      DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 realtime.delete_share
share             GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
share-statistics  GET    200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200 200
metric-list       GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 readings.view_metric
metric-detail     PATCH  401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 readings.change_metric
device-alarms     GET    401 401 401 200 404 200 401 401 403 200 200 200 403 200 403 401 200 200 alarms.view_alarm
alarm-list        GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 alarms.view_alarm
alarm-acknowledge POST   401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 ACKNOWLEDGE
alarm-rule-list   GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 alarms.view_rule
alarm-rule-list   POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 alarms.manage_rules
alarm-rule-detail GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 alarms.view_rule
alarm-rule-detail PATCH  401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 alarms.manage_rules
alarm-rule-detail DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 alarms.manage_rules
alarm-rule-preview POST  401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 alarms.manage_rules
alarm-rule-mute   PUT    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 ACKNOWLEDGE
alarm-rule-mute   DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 ACKNOWLEDGE
channel-list      GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 alarms.manage_rules
channel-list      POST   401 401 401 403 403 403 401 401 403 201 201 201 403 201 403 401 403 403 alarms.manage_rules
channel-detail    PATCH  401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 alarms.manage_rules
channel-detail    DELETE 401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 alarms.manage_rules
channel-test      POST   401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 alarms.manage_rules
device-mute       GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 alarms.view_alarm
device-mute       PUT    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 ACKNOWLEDGE
device-mute       DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 ACKNOWLEDGE
tag-mute          GET    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 200 200 alarms.view_alarm
tag-mute          PUT    401 401 401 403 403 403 401 401 403 200 200 200 403 200 403 401 403 403 ACKNOWLEDGE
tag-mute          DELETE 401 401 401 403 403 403 401 401 403 204 204 204 403 204 403 401 403 403 ACKNOWLEDGE
realtime-tickets  POST   401 401 401 201 404 201 401 401 403 201 201 201 403 201 403 401 403 403 readings.view_reading
"""
# The same for API tokens, of each scope and limited to a tag that only another device has, and for an account with the
# permission that is limited like that.
TOKENS = """
route             method re- ma- in- re- li- sc-
                         ad- na- ge- gi- mi- op-
                         er  ger st  st  ted ed
start             GET    302 302 302 302 302 302
start             else   302 302 302 302 302 302
favicon           GET    302 302 302 302 302 302
favicon           else   302 302 302 302 302 302
health            GET    200 200 200 200 200 200
health-live       GET    200 200 200 200 200 200
health-ready      GET    200 200 200 200 200 200
api-health        GET    200 200 200 200 200 200
metrics           GET    200 200 403 403 403 403
schema            GET    200 200 200 200 200 200
docs              GET    200 200 200 200 200 200
redoc             GET    200 200 200 200 200 200
guide             GET    200 200 200 200 200 200
live-fleet        GET    302 302 302 302 302 200
live-sparklines   GET    302 302 302 302 302 400
live-tags         GET    302 302 302 302 302 200
live-refused      GET    302 302 302 302 302 404
live-device       GET    302 302 302 302 302 404
alarms            GET    302 302 302 302 302 200
alarm-counts      GET    302 302 302 302 302 200
alarm-mutes       GET    302 302 302 302 302 200
alarm-rules       GET    302 302 302 302 302 200
alarm-rule-new    GET    302 302 302 302 302 403
alarm-rule        GET    302 302 302 302 302 403
ingest            POST   403 403 201 201 422 401
ingest-batch      POST   403 403 201 201 422 401
influx-write      POST   403 403 204 204 204 401
influx-write-v1   POST   403 403 204 204 204 401
influx-query      POST   403 403 200 200 200 401
influx-ping       GET    204 204 204 204 204 204
lorawan-ttn       POST   403 403 200 200 200 401
lorawan-chirpstack POST  403 403 200 200 200 401
thingsboard       POST   401 401 401 401 401 401
thingsboard-attributes POST   401 401 401 401 401 401
device-list       GET    200 200 403 403 200 200
device-list       POST   403 201 403 403 403 403
device-import     POST   403 201 403 403 422 422
device-detail     GET    200 200 403 403 404 404
device-detail     PATCH  403 200 403 403 404 404
device-detail     DELETE 403 204 403 403 404 404
device-rotate-key POST   403 200 403 403 404 404
change-list       GET    200 200 403 403 200 200
token-list        GET    403 403 403 403 403 403
token-list        POST   403 403 403 403 403 403
token-detail      DELETE 403 403 403 403 403 403
tag-list          GET    200 200 403 403 200 200
tag-list          POST   403 201 403 403 403 403
tag-detail        GET    200 200 403 403 404 404
tag-detail        PATCH  403 200 403 403 403 403
tag-detail        DELETE 403 204 403 403 403 403
device-history    GET    200 200 403 403 404 404
device-aggregate  GET    200 200 403 403 404 404
device-latest     GET    200 200 403 403 404 404
aggregate         GET    200 200 403 403 404 404
history           GET    200 200 403 403 404 404
explore           GET    302 302 302 302 302 200
explore-devices   GET    302 302 302 302 302 200
view-list         GET    200 200 403 403 200 200
view-list         POST   403 201 403 403 422 422
view-detail       DELETE 403 204 403 403 204 204
share-list        GET    200 200 403 403 200 200
share-list        POST   403 201 403 403 201 201
share-list        DELETE 403 204 403 403 204 204
share-detail      DELETE 403 204 403 403 204 204
share             GET    200 200 200 200 200 200
share-statistics  GET    200 200 200 200 200 200
metric-list       GET    200 200 403 403 200 200
metric-detail     PATCH  403 200 403 403 403 403
device-alarms     GET    200 200 403 403 404 404
alarm-list        GET    200 200 403 403 200 200
alarm-acknowledge POST   403 200 403 403 404 404
alarm-rule-list   GET    200 200 403 403 200 200
alarm-rule-list   POST   403 201 403 403 403 403
alarm-rule-detail GET    200 200 403 403 200 200
alarm-rule-detail PATCH  403 200 403 403 403 403
alarm-rule-detail DELETE 403 204 403 403 403 403
alarm-rule-preview POST  403 200 403 403 403 403
alarm-rule-mute   PUT    403 200 403 403 403 403
alarm-rule-mute   DELETE 403 204 403 403 403 403
channel-list      GET    403 200 403 403 403 403
channel-list      POST   403 201 403 403 403 403
channel-detail    PATCH  403 200 403 403 403 403
channel-detail    DELETE 403 200 403 403 403 403
channel-test      POST   403 200 403 403 403 403
device-mute       GET    200 200 403 403 404 404
device-mute       PUT    403 200 403 403 404 404
device-mute       DELETE 403 204 403 403 404 404
tag-mute          GET    200 200 403 403 404 404
tag-mute          PUT    403 200 403 403 404 404
tag-mute          DELETE 403 204 403 403 404 404
realtime-tickets  POST   201 201 403 403 404 404
"""
SESSIONS_AND_KEYS = 18
CALLERS = (
    *("nobody", "wrong", "url", "own", "other", "retiring", "retired", "inactive", "fleet", "admin"),
    *("staff", "member", "without", "root", "visitor", "closed", "no_csrf", "foreign"),
    *("reader", "manager", "ingester", "registrar", "limited", "scoped"),
)

ROUTES = {route.name: route for route in routes() if not route.path.startswith("admin/")}
ROWS = [
    [*left[: 2 + SESSIONS_AND_KEYS], *right[2:], *left[2 + SESSIONS_AND_KEYS :]]
    for left, right in zip(*(map(str.split, table.strip().splitlines()[3:]) for table in (MATRIX, TOKENS)), strict=True)
]
NAMES = {
    "READ_METRICS": "readings.view_maintenanceround",
    "ACKNOWLEDGE": "alarms.acknowledge_alarm",
}  # too long for the table
PERMISSIONS = {
    (name, method): NAMES.get(rest[0], rest[0]) for name, method, *cells in ROWS if (rest := cells[len(CALLERS) :])
}
EVERY_PERMISSION = sorted(set(PERMISSIONS.values()))


def methods_of(name, method):
    return ROUTES[name].methods - {"GET"} if method == "else" and name in ROUTES else {method}


# Route, method, and the expected status of each caller.
Row = tuple[str, str, dict[str, int]]


def rows_of(permission: str | None, *, redirections: bool) -> list[Row]:
    """Rows of several methods are redirections."""
    return [
        (name, method, dict(zip(CALLERS, map(int, cells[: len(CALLERS)]), strict=True)))
        for name, methods, *cells in ROWS
        if PERMISSIONS.get((name, methods)) == permission and (methods == "else") == redirections
        for method in sorted(methods_of(name, methods))
    ]


READING = {"device_id": "mote-1", "temperature": 21.5}
RULE = {"name": "Hot", "kind": "threshold", "metric": "temperature", "above": 30}
BODIES = {
    ("ingest", "POST"): READING,
    ("ingest-batch", "POST"): [READING],
    ("lorawan-ttn", "POST"): {"join_accept": {}},
    ("lorawan-chirpstack", "POST"): {"joinEui": ""},
    ("thingsboard", "POST"): {"temperature": 21.5},
    ("thingsboard-attributes", "POST"): {"firmware": "1.2"},
    ("device-list", "POST"): {"device_id": "mote-3"},
    ("device-detail", "PATCH"): {"name": "Roof"},
    ("device-rotate-key", "POST"): {"overlap_seconds": 0},
    ("token-list", "POST"): {"name": "Dashboard", "scopes": ["read"]},
    ("tag-list", "POST"): {"name": "roof"},
    ("tag-detail", "PATCH"): {"colour": "red"},
    ("realtime-tickets", "POST"): {"device_id": "mote-1"},
    ("view-list", "POST"): {"name": "North", "query": "device_id=mote-1"},
    ("share-list", "POST"): {"expires_at": "+1h"},
    ("metric-detail", "PATCH"): {"unit": "K"},
    ("alarm-acknowledge", "POST"): {"comment": "seen"},
    ("alarm-rule-list", "POST"): RULE,
    ("alarm-rule-detail", "PATCH"): {"name": "Warm"},
    ("alarm-rule-preview", "POST"): {"rule": RULE},
    ("alarm-rule-mute", "PUT"): {"until": "+2h"},
    ("device-mute", "PUT"): {"until": "+2h"},
    ("tag-mute", "PUT"): {"until": "+2h"},
    ("channel-list", "POST"): {"name": "Desk", "kind": "webhook", "target": "http://127.0.0.1:9/hook"},
    ("channel-detail", "PATCH"): {"name": "Attic"},
}
# Bodies that are not JSON.
# No line: with its own key a device writes for itself, whatever a line says.
TEXTS = {
    "device-import": b"device_id\nmote-3",
    "influx-write": b"# a comment",
    "influx-write-v1": b"# a comment",
    "influx-query": b"q=CREATE+DATABASE+x",
}


def url(name):
    """The address of the route for `mote-1`, its alarm and the rule of that, a metric, a view and a tag."""
    parts = re.findall(r":(\w+_(?:id|name)|key|name|token)>", ROUTES[name].path)
    # ThingsBoard's address has the key; those in headers do not count there.
    given: dict[str, object] = {"device_id": "mote-1", "key": "no-key-of-this-server"}
    given |= {"metric_name": "temperature", "name": "greenhouse-3"}
    if "token_id" in parts:
        made = {"token_hash": "x", "scopes": "read", "created_at": timezone.now()}
        given["token_id"] = ApiToken.objects.get_or_create(name="Mine", defaults=made)[0].pk
    if "view_id" in parts:
        now = timezone.now()
        given["view_id"] = View.objects.get_or_create(name="Mine", defaults={"query": "x", "created_at": now})[0].pk
    if "share_id" in parts or "token" in parts:
        now = timezone.now()
        view, _ = View.objects.get_or_create(name="Mine", defaults={"query": "x", "created_at": now})
        until = now + timedelta(hours=1)
        share, given["token"] = Share.objects.issue(view, by="", expires_at=until, now=now)
        given["share_id"] = share.pk
    if "alarm_id" in parts or "rule_id" in parts:
        alarm = alarm_of("mote-1")
        given |= {"alarm_id": alarm.pk, "rule_id": alarm.rule_id, "channel_id": channel().pk}
    if "channel_id" in parts:
        given["channel_id"] = channel().pk
    address = reverse(name, kwargs={part: given[part] for part in parts})
    return f"{address}?device_id=mote-1" if name in ("aggregate", "history") else address


def ask(client, name, method):
    body = json.encode(BODIES[name, method]) if (name, method) in BODIES else TEXTS.get(name, b"")
    content_type = "text/csv" if name == "device-import" else "application/json"
    return client.generic(method, url(name), body, content_type=content_type)


def test_every_route_and_method_has_a_row():
    there_is = {(route.name, method) for route in ROUTES.values() for method in route.methods}

    assert there_is == {(name, method) for name, methods, *_ in ROWS for method in methods_of(name, methods)}


def test_both_tables_have_the_same_rows():
    left, right = ([line.split()[:2] for line in table.strip().splitlines()[3:]] for table in (MATRIX, TOKENS))
    assert left == right


def test_every_row_has_a_cell_for_every_caller():
    assert {name: len(cells) for name, _, *cells in ROWS if len(cells) not in (len(CALLERS), len(CALLERS) + 1)} == {}


# Callers that the quick suite asks as, because each is refused for a reason of its own; the slow suite has all.
ASKING = CALLERS if ALL else ("nobody", "other", "staff", "without", "no_csrf", "limited", "scoped")
# Callers whose way in changes the device, so that nobody else may use their world.
CHANGING = ("retiring", "retired", "inactive")


class Callers:
    """Clients that are made once for all requests of a test, because signing in takes longer than a request."""

    def __init__(self, permission: str | None) -> None:
        self.world = World(permission, EVERY_PERMISSION)
        self.clients = {caller: self.world.client(caller) for caller in ASKING if caller not in CHANGING}

    def ask(self, caller: str, name: str, method: str):
        """The answer; what the request changed is rolled back."""
        before = transaction.savepoint()  # no atomic block, within which ingest refuses to commit
        client = self.clients.get(caller) or self.world.client(caller)
        response = ask(client, name, method)
        transaction.savepoint_rollback(before)
        return response


@pytest.mark.examples
@pytest.mark.parametrize("permission", [None, *EVERY_PERMISSION])
def test_the_matrix(permission):
    check(permission, rows_of(permission, redirections=False))


@pytest.mark.slow
def test_the_matrix_of_redirections():
    check(None, rows_of(None, redirections=True))


def check(permission: str | None, rows: list[Row]) -> None:
    callers = Callers(permission)
    wrong = []
    for name, method, statuses in rows:
        api = ROUTES[name].path.startswith("api/") and not name.startswith("influx")  # which has its own documents
        for caller in ASKING:
            expected = statuses[caller]
            response = callers.ask(caller, name, method)
            if response.status_code != expected:
                wrong.append(f"{method} {name} by {caller}: {response.status_code}, not {expected}")
            if response.status_code >= 400 and api:
                problem(response, response.status_code)
            assert ("WWW-Authenticate" in response) == (response.status_code == 401), (name, method, caller)
            # A page of another origin can send a request with a session, but must not be able to read the answer.
            assert "Access-Control-Allow-Origin" not in response, (name, method, caller)
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("permission", [None, *EVERY_PERMISSION])
def test_who_is_refused_changes_nothing(permission, admin):
    rows = rows_of(permission, redirections=False)
    refused = [(name, method) for name, method, statuses in rows if 401 in statuses.values()]
    world = World(permission, EVERY_PERMISSION)
    clients = [world.client(caller) for caller in ("nobody", "wrong", "url", "other", "without", "visitor", "closed")]
    alarm_of("mote-1")
    channel()
    for name, _ in refused:
        url(name)  # makes what it names
    before = stored(admin)

    for name, method in refused:
        for client in clients:
            ask(client, name, method)

    assert stored(admin) == before


def stored(admin):
    paths = (
        "devices",
        "tags",
        "alarms?state=all",
        "alarm-rules",
        "channels",
        "devices/mote-1/mute",
        "tags/greenhouse-3/mute",
        "metrics",
        "views",
        "tokens",
    )
    return [admin.get(f"/api/v1/{path}").json() for path in paths]


SHARED = ("share", "share-statistics")


@pytest.mark.parametrize("sent", ["X-API-Key", "Authorization"])
def test_the_token_of_a_link_is_no_key_of_any_route(sent):
    """A link to a view shows that view, and nothing else."""
    world = World(None, EVERY_PERMISSION)
    token = url("share").split("/")[-2]
    client = world.nobody()
    value = f"Bearer {token}" if sent == "Authorization" else token
    client.credentials(**{f"HTTP_{sent.upper().replace('-', '_')}": value})
    column = CALLERS.index("wrong")
    wrong = []
    for name, methods, *cells in ROWS:
        for method in sorted(methods_of(name, methods) - {"HEAD"}) if name not in SHARED else ():
            before = transaction.savepoint()
            status = ask(client, name, method).status_code
            transaction.savepoint_rollback(before)
            if status != int(cells[column]):
                wrong.append(f"{method} {name}: {status}, not {cells[column]}")
    assert wrong == []


def test_a_permission_that_is_taken_away_is_gone_at_once(device):
    client = staff_client("operator", "devices.view_device")
    assert client.get(url("device-list")).status_code == 200

    User.objects.get().user_permissions.clear()

    problem(client.get(url("device-list")), 403)


def test_a_refusal_for_want_of_a_csrf_token_says_so(device):
    client = staff_client("operator", "devices.add_device", enforce_csrf=True)

    assert "CSRF" in problem(client.post(url("device-list"), {"device_id": "mote-3"}), 403)["detail"]


def test_a_key_needs_no_csrf_token_even_beside_a_session(device):
    client = staff_client("operator", enforce_csrf=True)

    assert client.post(url("device-list"), {"device_id": "mote-3"}, HTTP_X_API_KEY=ADMIN_KEY).status_code == 201

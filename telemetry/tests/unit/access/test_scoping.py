"""Who is limited to a tag sees no other device: every route of the URL configuration, and every list in the console."""

import re
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from msgspec import json

from devices.changes.log import account, log_changed
from devices.models import AccountTag, Device, DeviceTag, Tag
from devices.tests.fixtures import client_with, staff_client, token_client
from readings.alarms.models import Alarm, DeviceMute
from readings.alarms.rules.changing import create_rule
from readings.alarms.tests.rules import alarm_of
from readings.ingest.refused_posts import Times, keep, refused_post
from readings.models import Rejection
from readings.statistics.tiers import HOURS
from readings.upkeep.rollups import roll_up
from realtime.models import View
from telemetry.tests.support.routes import routes

pytestmark = [pytest.mark.django_db, pytest.mark.once]

# Of the device that a limited caller must not see: its id, name, tag, location and notes, the rule that names it.
HIDDEN = ("hidden-1", "Hidden name", "hidden-tag", "Hidden place", "Hidden note", "Hidden rule", "Hidden view")
SEEN = "seen-1"
# Answers to a request for something of another device.
REFUSALS = (302, 400, 403, 404, 405, 410, 422)
WRITING = ("POST", "PATCH", "PUT", "DELETE")


class World:
    """Two devices of different tags, each with a reading, a refused post, an alarm, a rule, a mute and a view."""

    def __init__(self) -> None:
        self.seen, self.hidden = (self.device(name) for name in (SEEN, "hidden-1"))
        for name, text in zip(
            ("name", "location", "notes"), ("Hidden name", "Hidden place", "Hidden note"), strict=True
        ):
            Device.objects.filter(pk=self.hidden.pk).update(**{name: text})
        self.rule = create_rule(
            {"name": "Hidden rule", "kind": "threshold", "metric": "temperature", "above": 3},
            ["hidden-1"],
            now=self.now,
        )
        self.alarm = alarm_of("hidden-1")
        Alarm.objects.filter(pk=self.alarm.pk).update(rule=self.rule)
        by = account(User.objects.create_user("author"))
        for device in (self.seen, self.hidden):
            log_changed([device], ["name"], by=by, before={"name": ""}, after={"name": f"{device.device_id} renamed"})
        log_changed([self.rule], ["name"], by=by, before={"name": "Hidden rule"}, after={"name": "Hidden rule"})
        self.view = View.objects.create(
            name="Hidden view", query="device_id=hidden-1&device_id=seen-1", created_by="x", created_at=self.now
        )
        View.objects.create(name="Seen view", query="device_id=seen-1", created_by="x", created_at=self.now)

    now = property(lambda self: timezone.now())

    def device(self, device_id: str) -> Device:
        device, key = Device.objects.register(device_id=device_id)
        tag = Tag.objects.create(name=f"{device_id[:-2]}-tag", key=f"{device_id[:-2]}-tag", colour="grey")
        DeviceTag.objects.create(device=device, tag=tag)
        client_with(key).post("/api/v1/ingest", {"temperature": 21.5})
        note = {"caller": "device", "address": "", "status": 422, "code": "x", "detail": f"Said {device_id}"}
        keep({refused_post(device_id=device_id, **note): Times(timezone.now())})  # type: ignore[arg-type]
        DeviceMute.objects.create(device=device, until=timezone.now() + timedelta(hours=1))
        return device

    def address(self, path: str) -> str:
        """The address of a route, with the objects of the hidden device in its variable parts."""

        def part(match: re.Match[str]) -> str:
            name = match[1].split(":")[-1]
            if name == "object_id":
                return str(self.object_of(path))
            found = {
                "device_id": "hidden-1",
                "alarm_id": self.alarm.pk,
                "rule_id": self.rule.pk,
                "view_id": self.view.pk,
                "pk": self.hidden.pk,
                "name": "hidden-tag",
                "metric_name": "temperature",
                "token_id": 1,
                "share_id": 1,
                "token": "x" * 32,
                "channel_id": 1,
                "key": "no-key",
                "page": "mqtt",
                "id": 1,
                "app_label": "devices",
                "uidb64": "MQ",
                "content_type_id": ContentType.objects.get_for_model(Device).pk,
            }
            return str(found[name])  # a part that is missing here fails the test: say which object it means

        return "/" + re.sub(r"<([^>]+)>", part, path).replace("(?P", "").replace("\\Z", "")

    def object_of(self, path: str) -> Any:
        model = path.split("/")[2] if path.startswith("admin/") else ""
        objects: dict[str, Any] = {
            "device": Device,
            "rejection": Rejection,
            "alarm": Alarm,
            "rule": type(self.rule),
        }
        if path.startswith("admin/r/") or model == "device":
            return self.hidden.pk
        if model == "rule":
            return self.rule.pk
        if model == "reading":
            return "hidden-1~1"
        if model in objects:
            return objects[model].objects.get(device_id="hidden-1").pk
        return {"tag": Tag.objects.get(key="hidden-tag").pk, "metric": "temperature"}.get(model, 1)


@pytest.fixture
def world(settings):
    settings.DOORS = ["influx", "lorawan", "thingsboard"]
    return World()


def limited_account():
    """A signed-in account with every permission, limited to the tag of the device that it sees."""
    client = staff_client("limited")
    user = User.objects.get(username="limited")
    user.user_permissions.set(Permission.objects.all())
    AccountTag.objects.create(user=user, tag=Tag.objects.get(key="seen-tag"))
    return client


CALLERS = {
    "a token": lambda: token_client("manage", "ingest", tags=["seen-tag"]),
    "an account": limited_account,
}
ROUTES = [route for route in routes() if "<drf_format_suffix" not in route.path and "(?P<url>" not in route.path]
QUERY = {
    "aggregate": "device_id=hidden-1",
    "history": "device_id=hidden-1",
    "explore": "device_id=hidden-1&tag=hidden-tag",
    "explore-devices": "search=&device_id=hidden-1",
}
# Pages that show what was given, or documents about no device.
OPEN = ("schema", "docs", "redoc", "guide", "metrics")


async def streamed(response: Any) -> bytes:
    return b"".join([part async for part in response])


def told(response: Any) -> list[str]:
    text = (async_to_sync(streamed)(response) if response.streaming else response.content).decode()
    return [word for word in HIDDEN if word in text]


@pytest.mark.parametrize("caller", CALLERS)
def test_no_route_shows_another_device(world, caller):
    """Details are asked for with the hidden device; lists must not name it."""
    assert routes_that_show(CALLERS[caller](), world) == []


@pytest.mark.slow
def test_that_test_notices_what_is_shown(world):
    """To a superuser, who is not limited, most lists and details show the hidden device."""
    root = staff_client("root")
    User.objects.filter(username="root").update(is_superuser=True)
    assert len(routes_that_show(root, world)) > 30


def routes_that_show(client, world):
    showing = []
    for route in ROUTES:
        if route.name in OPEN or "GET" not in route.methods:
            continue
        path = world.address(route.path)
        about_hidden = path != f"/{route.path}"
        answer = client.get(f"{path}?{QUERY.get(route.name, '')}")
        words = told(answer) if answer.status_code == 200 else []
        # A refusal may repeat what was asked for.
        if words and not (about_hidden and answer.status_code in REFUSALS):
            showing.append(f"{route.name or route.path}: {answer.status_code} shows {words}")
        assert answer.status_code < 500, route
    return showing


@pytest.mark.parametrize("caller", CALLERS)
def test_no_route_changes_another_device(world, caller):
    client = CALLERS[caller]()
    before = state()
    for route in ROUTES:
        if "logout" in route.path or "/auth/" in route.path or "<" not in route.path:
            continue
        for method in ("POST",) if route.path.startswith("admin/") else sorted(route.methods.intersection(WRITING)):
            body = json.encode({"post": "yes", "name": "Mine", "tags": ["seen-tag"], "until": "+2h", "comment": "x"})
            answer = client.generic(method, world.address(route.path), body, content_type="application/json")
            assert answer.status_code in (*REFUSALS, 200, 204, 401), (route, answer.content)
            assert state() == before, (method, route)


def state():
    models = (Device, DeviceTag, Tag, Alarm, DeviceMute, View)
    rules = list(type(Alarm.objects.get(device_id="hidden-1").rule).objects.order_by("pk").values_list())
    return [list(model.objects.order_by("pk").values_list()) for model in models] + [rules]


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("devices", "device_id"),
        ("alarms?state=all", "device_id"),
        ("alarm-rules", "name"),
        ("tags", "name"),
        ("views", "name"),
        ("changes", "device_id"),
    ],
)
def test_the_lists_have_what_concerns_its_own_devices(world, caller, path, names):
    alarm_of(SEEN)
    found = CALLERS[caller]().get(f"/api/v1/{path}").json()["results"]
    assert {item[names] for item in found} <= {SEEN, "seen-tag", "Seen view", "Rule", "Silent"}
    assert found


def test_the_pages_of_an_account_show_its_own_devices(world):
    client = limited_account()
    for path in ("/admin/", "/live/", "/explore/", f"/live/{SEEN}/", "/admin/devices/device/", "/admin/devices/tag/"):
        html = client.get(path).content.decode()
        assert SEEN in html or "seen-tag" in html, path
    roll_up(HOURS)
    sparklines = client.get("/live/-/sparklines?metric=temperature&devices=seen-1,hidden-1").json()
    assert sparklines["values"].keys() == {SEEN}
    assert client.get(f"/admin/devices/device/{world.seen.pk}/change/").status_code == 200
    logs = [client.get(f"/admin/readings/reading/?q={name}").content.decode() for name in (SEEN, "hidden-1")]
    assert ["21.5" in log for log in logs] == [True, False]


def test_an_export_of_the_console_has_its_own_devices(world):
    chosen = {"action": "export", "_selected_action": [str(world.seen.pk), str(world.hidden.pk)]}
    answer = limited_account().post("/admin/devices/device/", chosen, format="multipart")
    assert SEEN in answer.content.decode()
    assert told(answer) == []


def test_a_form_of_the_console_keeps_a_device_within_the_limit(world):
    client = limited_account()
    page = f"/admin/devices/device/{world.seen.pk}/change/"
    form = {"name": "Mine", "is_active": "on", "location": "", "notes": "", "report_interval": "", "retention_days": ""}
    for tags in ("", "hidden-tag", "seen-tag, hidden-tag", "seen-tag, new"):
        assert client.post(page, form | {"tag_names": tags}, format="multipart").status_code == 200, tags
    assert client.post(page, form | {"tag_names": "seen-tag"}, format="multipart").status_code == 302
    assert Device.objects.get(pk=world.seen.pk).name == "Mine"

    for action, tag in (("add_tag", "hidden-tag"), ("remove_tag", "seen-tag")):
        asked = {"action": action, "_selected_action": [str(world.seen.pk)]}
        question = client.post("/admin/devices/device/", asked, format="multipart").content.decode()
        confirmed = re.search(r'name="confirmed" value="(\w+)"', question)
        assert confirmed
        done = asked | {"confirmed": confirmed[1], "tag": tag}
        assert client.post("/admin/devices/device/", done, format="multipart").status_code == 200
    assert list(DeviceTag.objects.filter(device=world.seen).values_list("tag__name", flat=True)) == ["seen-tag"]

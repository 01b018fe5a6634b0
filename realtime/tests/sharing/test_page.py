"""`/share/{token}/`: a view without signing in, and nothing else."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from devices.keys import hash_key
from devices.models import AccountTag, ApiToken, Device, Tag
from devices.tests.fixtures import new_client, problem, staff_client, token_client
from readings.history.views import asked_of
from readings.tests.logs import make_devices, new, store
from realtime.models import Share, View
from realtime.sharing import pages
from realtime.tests.sharing.links import link, view

pytestmark = pytest.mark.django_db


@pytest.fixture
def readings(device, other_device):
    now = timezone.now()
    for name, value in (("mote-1", 20.0), ("mote-2", 30.0)):
        store([new(name, now - timedelta(minutes=5), temperature=value, humidity=50.0)], received_at=None)


def statistics(token, **parameters):
    response = new_client().get(f"/share/{token}/statistics", parameters)
    assert response.status_code == 200, response.content
    return response.json()


def shown(token, **parameters):
    return {device["device_id"]: sorted({name for bucket in device["buckets"] for name in bucket["metrics"]})
            for device in statistics(token, **parameters)["devices"]}  # fmt: skip


def test_the_page_needs_no_account_and_is_not_listed_kept_or_told(readings):
    token = link()
    response = new_client().get(f"/share/{token}/")
    assert response.status_code == 200
    assert "View 0" in response.content.decode()
    for answer in (response, new_client().get(f"/share/{token}/statistics"), new_client().get(f"/share/{'x' * 32}/")):
        assert "noindex" in answer["X-Robots-Tag"]
        assert "no-store" in answer["Cache-Control"]
        assert answer["Referrer-Policy"] == "no-referrer"
    assert not response.cookies
    assert "sign in" not in response.content.decode().lower()


def test_it_shows_the_devices_metrics_and_period_of_the_view_alone(readings):
    answer = statistics(link())
    assert (answer["names"], list(answer["metrics"])) == ({"mote-1": "North window"}, ["temperature"])
    (device,) = answer["devices"]
    assert [bucket["metrics"]["temperature"]["avg"] for bucket in device["buckets"]] == [20.0]

    for more in (
        {"device_id": "mote-2"},
        {"tag": "roof"},
        {"metrics": "humidity"},
        {"start": "-30d"},
        {"bucket": "1d"},
    ):
        assert shown(link(), **more) == {"mote-1": ["temperature"]}
    assert shown(link("device_id=mote-1&metrics=temperature&start=2001-01-01&end=2001-01-02"), range="1h") == {
        "mote-1": []
    }


def test_a_view_without_metrics_shows_the_first_one(readings):
    assert shown(link("device_id=mote-1&device_id=mote-2")) == {"mote-1": ["temperature"], "mote-2": ["temperature"]}


def test_a_view_of_a_tag_shows_the_devices_that_have_it_now(admin, readings):
    token = link("tag=roof&device_id=gone&metrics=humidity")
    assert shown(token) == {}
    admin.patch("/api/v1/devices/mote-2", {"tags": ["roof"]})
    assert shown(token) == {"mote-2": ["humidity"]}


@pytest.mark.parametrize(("points", "expected"), [("60", 60), ("0", 1), ("9" * 5, 1000), ("x", 500), ("", 500)])
def test_only_the_number_of_points_can_be_asked_for(readings, monkeypatch, points, expected):
    given: list[dict[str, object]] = []

    def noting(devices, request, query):
        given.append(query)
        return asked_of(devices, request, query)

    monkeypatch.setattr(pages, "asked_of", noting)
    shown(link(), points=points)
    assert given[0]["points"] == expected


def test_the_statistics_of_a_link_are_never_a_large_answer(readings, monkeypatch):
    monkeypatch.setattr(pages, "LARGE_ANSWER_VALUES", 40)
    monkeypatch.setattr("readings.history.answers.LARGE_ANSWER_VALUES", 40)
    monkeypatch.setattr("readings.history.answers.large_answer", lambda: pytest.fail("a large answer"))
    for query in (
        "device_id=mote-1&metrics=temperature",
        "device_id=mote-1&device_id=mote-2&metrics=temperature,humidity",
    ):
        assert shown(link(query), points=1_000)


def test_a_link_that_ended_shows_nothing(readings):
    ended = link(seconds=-1)
    withdrawn = link()
    Share.objects.filter(token_hash=hash_key(withdrawn)).delete()
    of_deleted = link()
    View.objects.order_by("-id")[:1].get().delete()
    for token in (ended, withdrawn, of_deleted, "x" * 32):
        page = new_client().get(f"/share/{token}/")
        assert page.status_code == 404
        assert "mote-1" not in page.content.decode()
        problem(new_client().get(f"/share/{token}/statistics"), 404)


@pytest.mark.parametrize("change", [{"is_active": False}, {"is_staff": False}])
def test_a_link_ends_with_the_right_of_who_made_it(readings, change):
    staff_client("maker", "readings.view_reading")
    maker = User.objects.get(username="maker")
    token = link(user=maker)
    assert shown(token) == {"mote-1": ["temperature"]}
    User.objects.update(**change)
    problem(new_client().get(f"/share/{token}/statistics"), 404)
    User.objects.update(is_active=True, is_staff=True)
    assert shown(token)
    maker.user_permissions.clear()
    problem(new_client().get(f"/share/{token}/statistics"), 404)


def test_a_link_of_a_limited_token_shows_its_devices_alone_and_ends_with_it(admin, readings):
    admin.patch("/api/v1/devices/mote-1", {"tags": ["roof"]})
    both = view("device_id=mote-1&device_id=mote-2&metrics=temperature", name="Both")
    own = view(name="Own")
    manager = token_client("manage", tags=["roof"])
    problem(manager.post(f"/api/v1/views/{both.pk}/shares", {}), 404)
    token = manager.post(f"/api/v1/views/{own.pk}/shares", {}).json()["url"].split("/")[-2]
    View.objects.filter(pk=own.pk).update(query=both.query)
    assert shown(token) == {"mote-1": ["temperature"]}

    ApiToken.objects.update(expires_at=timezone.now())
    problem(new_client().get(f"/share/{token}/statistics"), 404)
    ApiToken.objects.all().delete()
    assert not Share.objects.exists()


def test_a_link_of_a_limited_account_shows_its_devices_alone(admin, readings):
    admin.patch("/api/v1/devices/mote-2", {"tags": ["roof"]})
    staff_client("maker", "readings.view_reading")
    maker = User.objects.get(username="maker")
    token = link("device_id=mote-1&device_id=mote-2&metrics=temperature", user=maker)
    assert shown(token).keys() == {"mote-1", "mote-2"}
    AccountTag.objects.create(user=maker, tag=Tag.objects.get())
    assert shown(token).keys() == {"mote-2"}


@pytest.mark.one_database("each device has a statement")
def test_the_statistics_take_the_same_queries_however_many_devices_there_are(readings):
    make_devices(30)

    def queries(*names):
        token = link("&".join(f"device_id={name}" for name in names) + "&metrics=temperature")
        with CaptureQueriesContext(connection) as captured:
            statistics(token)
        return len(captured)

    names = Device.objects.values_list("device_id", flat=True)
    assert queries(*names) == queries("mote-1", "mote-2") <= 5


def test_the_dark_colours_of_a_wall_are_those_of_every_page():
    static = Path(__file__).parents[2] / "static/realtime"

    def colours(text):
        return dict(re.findall(r"(--[\w-]+): ([^;]+);", text))

    usual: dict[str, str] = {}
    for file in ("look/tokens.css", "pages/explore.css"):
        usual |= colours((static / file).read_text().split("prefers-color-scheme: dark", 1)[1].split("}")[0])
    assert colours((static / "look/dark.css").read_text()) == usual

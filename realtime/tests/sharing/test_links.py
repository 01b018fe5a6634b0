"""`/api/v1/views/{id}/shares`: links to a view are made, listed and ended."""

import re
from datetime import datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.utils import timezone

from devices.keys import hash_key
from devices.tests.fixtures import new_client, problem, staff_client, token_client
from realtime.models import Share
from realtime.sharing import api
from realtime.tests.sharing.links import view

pytestmark = pytest.mark.django_db


@pytest.fixture
def shares(db):
    return f"/api/v1/views/{view().pk}/shares"


def test_a_link_is_made_listed_and_ended_and_the_changes_are_logged(admin, shares):
    expires_at = (timezone.now() + timedelta(days=2)).isoformat()
    answer = admin.post(shares, {"expires_at": expires_at})
    assert answer.status_code == 201
    made = answer.json()
    assert re.fullmatch(r"http://testserver/share/[A-Za-z0-9_-]{32}/", made["url"])
    token = made["url"].split("/")[-2]
    assert Share.objects.get().token_hash == hash_key(token)
    assert (made["hint"], made["created_by"]) == (token[:4], "API key")
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(expires_at)

    listed = admin.get(shares).json()
    assert listed == {"results": [{name: value for name, value in made.items() if name != "url"}], "next": None}
    assert token not in str(listed)

    assert admin.delete(f"{shares}/{made['id']}").status_code == 204
    problem(admin.delete(f"{shares}/{made['id']}"), 404)
    assert admin.get(shares).json()["results"] == []
    entries = LogEntry.objects.order_by("id")
    assert [(entry.object_repr, entry.action_flag) for entry in entries] == [
        (f"North beds ({token[:4]}…)", 1),
        (f"North beds ({token[:4]}…)", 3),
    ]


def test_a_link_ends_in_30_days_unless_it_is_told(admin, shares, settings):
    settings.PUBLIC_URL = "https://telemetry.example.org"
    made = admin.post(shares, {}).json()
    assert made["url"].startswith("https://telemetry.example.org/share/")
    left = datetime.fromisoformat(made["expires_at"]) - timezone.now()
    assert timedelta(days=29, hours=23) < left < timedelta(days=30)


@pytest.mark.parametrize(
    ("given", "field", "code"),
    [
        ({"expires_at": "-1h"}, "expires_at", "in_the_past"),
        ({"expires_at": "+367d"}, "expires_at", "too_far"),
        ({"expires_at": "soon"}, "expires_at", "invalid_time"),
        ({"expires_at": None}, "expires_at", "null"),
        ({"scopes": ["read"]}, "scopes", "unknown_field"),
    ],
)
def test_a_wrong_link_is_refused_by_field(admin, shares, given, field, code):
    error = problem(admin.post(shares, given), 422)["errors"][0]
    assert (error["field"], error["code"]) == (field, code)
    assert not Share.objects.exists()


def test_a_limited_token_ends_only_links_that_show_no_more_than_it_sees(admin):
    for name in ("own", "foreign"):
        admin.post("/api/v1/tags", {"name": name})
    admin.post("/api/v1/devices", {"device_id": "a", "tags": ["own", "foreign"]})
    client = token_client("manage", tags=["own"])
    others, own = view("tag=own&tag=foreign", "Others"), view("tag=own&device_id=a", "Own")
    path = f"/api/v1/views/{others.pk}"
    made = admin.post(f"{path}/shares", {}).json()["id"]

    for address in (path, f"{path}/shares", f"{path}/shares/{made}"):
        assert problem(client.delete(address), 403)["code"] == "limited"
    assert Share.objects.count() == 1
    mine = client.post(f"{path}/shares", {}).json()["id"]
    problem(client.delete(f"{path}/shares"), 403)
    assert client.delete(f"{path}/shares/{mine}").status_code == 204

    admin.post(f"/api/v1/views/{own.pk}/shares", {})
    assert client.delete(f"/api/v1/views/{own.pk}/shares").status_code == 204
    assert client.delete(f"/api/v1/views/{own.pk}").status_code == 204


def test_one_author_cannot_use_up_the_room_for_views(admin, monkeypatch):
    monkeypatch.setattr("realtime.saved_views.VIEWS_OF_AUTHOR_MAX", 1)
    client = token_client("manage")
    assert client.post("/api/v1/views", {"name": "1", "query": "tag=x"}).status_code == 201
    error = problem(client.post("/api/v1/views", {"name": "2", "query": "tag=x"}), 422)["errors"][0]
    assert (error["code"], "Delete one first" in error["detail"]) == ("too_many_views", True)
    assert admin.post("/api/v1/views", {"name": "3", "query": "tag=x"}).status_code == 201


def test_the_links_of_a_view_are_bounded_and_expired_ones_do_not_count(admin, shares, monkeypatch):
    monkeypatch.setattr(api, "SHARES_OF_VIEW_MAX", 2)
    first = admin.post(shares, {}).json()["id"]
    admin.post(shares, {})
    assert problem(admin.post(shares, {}), 422)["errors"][0]["code"] == "too_many_shares"

    Share.objects.filter(pk=first).update(expires_at=timezone.now())
    assert len(admin.get(shares).json()["results"]) == 1
    assert admin.post(shares, {}).status_code == 201
    assert Share.objects.count() == 2


def test_all_links_of_a_view_are_ended_at_once_and_a_deleted_view_ends_its_own(admin, shares):
    other = f"/api/v1/views/{view(name='Other').pk}"
    for path in (shares, shares, f"{other}/shares"):
        admin.post(path, {})

    assert admin.delete(shares).status_code == 204
    assert Share.objects.count() == 1
    assert admin.delete(other).status_code == 204
    assert not Share.objects.exists()
    assert LogEntry.objects.filter(action_flag=3, content_type__model="share").count() == 3


@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_an_unknown_view_has_no_links(admin, method):
    problem(getattr(admin, method)("/api/v1/views/1/shares"), 404)


def test_a_link_of_another_view_is_not_ended(admin, shares):
    made = admin.post(shares, {}).json()["id"]
    problem(admin.delete(f"/api/v1/views/{view(name='Other').pk}/shares/{made}"), 404)
    assert Share.objects.exists()


def test_the_list_takes_two_queries(admin, shares, django_assert_num_queries):
    for _ in range(3):
        admin.post(shares, {})
    with django_assert_num_queries(2):
        admin.get(shares)


def test_the_page_offers_what_the_account_may_do(db):
    everything = {f"realtime.{action}_share" for action in ("view", "add", "delete")}
    client = staff_client("operator", "readings.view_reading", *everything)
    assert '"shares": {"list": true, "add": true, "end": true}' in client.get("/explore/").content.decode()
    assert new_client().get("/explore/").status_code == 302

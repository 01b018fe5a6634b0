"""The console's pages of API tokens."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.console.tokens import LimitField, TokenForm
from devices.models import ApiToken, Tag
from devices.tests.fixtures import client_with, staff_client

pytestmark = pytest.mark.django_db

LIST = "/admin/devices/apitoken/"
FORM = {"name": "Dashboard", "scopes": ["read"], "tag_names": "", "expires_at": ""}


@pytest.fixture
def boss():
    Tag.objects.create(name="roof", key="roof", colour="grey")
    return staff_client("boss", "devices.add_apitoken", "devices.view_apitoken", "devices.delete_apitoken")


def test_a_token_is_made_shown_on_its_page_listed_and_revoked(boss, device):
    made = boss.post(f"{LIST}add/", FORM | {"tag_names": "roof"}, format="multipart")
    assert made.status_code == 303
    match = re.search(r"<code>(tlt_[\w-]{32})</code>", boss.get(made["Location"]).content.decode())
    assert match
    token = match[1]
    assert client_with(token).get("/api/v1/devices").status_code == 200

    page = boss.get(LIST).content.decode()
    assert "Dashboard" in page
    assert "roof" in page
    assert token not in page

    pk = ApiToken.objects.get().pk
    assert boss.post(f"{LIST}{pk}/delete/", {"post": "yes"}, format="multipart").status_code == 302
    assert client_with(token).get("/api/v1/devices").status_code == 401
    assert [(entry.action_flag, entry.object_repr) for entry in LogEntry.objects.order_by("id")] == [
        (1, "Dashboard"),
        (3, "Dashboard"),
    ]


@pytest.mark.parametrize(("given", "words"), [({"tag_names": "gone"}, "no tag"), ({"name": "Old"}, "already a token")])
def test_what_others_changed_after_the_check_is_a_message(boss, given, words, monkeypatch):
    boss.post(f"{LIST}add/", FORM | {"name": "Old"}, format="multipart")
    monkeypatch.setattr(LimitField, "clean", lambda field, value: [value] if value else [])
    monkeypatch.setattr(TokenForm, "validate_unique", lambda form: None)
    monkeypatch.setattr(ApiToken, "validate_constraints", lambda token, **_: None)
    answer = boss.post(f"{LIST}add/", FORM | given, format="multipart", follow=True)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert ApiToken.objects.count() == 1


@pytest.mark.postgresql
def test_the_tags_of_a_limit_are_locked_when_they_are_checked(boss):
    with CaptureQueriesContext(connection) as captured:
        boss.post(f"{LIST}add/", FORM | {"tag_names": "Roof", "name": ""}, format="multipart")
    assert [q for q in captured if "devices_tag" in q["sql"] and "FOR NO KEY UPDATE" in q["sql"]]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"scopes": []}, "required"),
        ({"scopes": ["register"]}, "needs the scope ingest"),
        ({"tag_names": "nowhere"}, "There is no tag"),
        ({"expires_at": "2020-01-01"}, "in the past"),
        ({"name": ""}, "required"),
    ],
)
def test_an_invalid_form_says_what_is_wrong(boss, given, words):
    page = boss.post(f"{LIST}add/", FORM | given, format="multipart")
    assert page.status_code == 200
    assert words in page.content.decode()
    assert not ApiToken.objects.exists()

"""The console's pages of API tokens."""

import re

import pytest
from django.contrib.admin.models import LogEntry

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

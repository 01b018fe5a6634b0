"""Accounts in the console: three fields, a link to set the password, a role, and perhaps a limit to tags."""

import re
from html import unescape
from urllib.parse import urlsplit

import pytest
from django.contrib.auth.models import Group, User

from devices.console.tokens import LimitField
from devices.models import AccountTag, Device, DeviceTag, Tag
from devices.tests.fixtures import new_client

pytestmark = [pytest.mark.django_db, pytest.mark.once]

ADD, PASSWORD = "/admin/auth/user/add/", "another battery staple"


@pytest.fixture
def roof(device):
    """A tag that one of two devices has."""
    tag = Tag.objects.create(name="Roof", key="roof", colour="grey")
    DeviceTag.objects.create(device=device, tag=tag)
    Device.objects.register(device_id="mote-2")
    return tag


def added(client, role="Viewers", **more):
    form = {"username": "ada", "email": "ada@example.org", "role": Group.objects.get(name=role).pk, "limit_names": ""}
    return client.post(ADD, form | more, format="multipart")


def link_on(client, answer):
    assert answer.status_code == 303, answer.content
    found = re.search(r"<code>(http[^<]+)</code>", client.get(answer["Location"]).content.decode())
    assert found
    return urlsplit(unescape(found[1])).path


def set_password(link, password=PASSWORD):
    """A client that has set the password with the link; None if the link is not valid any more."""
    client = new_client()
    opened = client.get(link)
    if opened.status_code == 200:
        assert "used already" in opened.content.decode()
        return None
    form = {"new_password1": password, "new_password2": password}
    assert client.post(opened["Location"], form, format="multipart").status_code == 302
    return client


def signed_in(password=PASSWORD):
    client = new_client()
    form = {"username": "ada", "password": password}
    assert client.post("/admin/login/", form, format="multipart").status_code == 302
    return client


@pytest.mark.parametrize(("role", "status"), [("Viewers", 403), ("Operators", 200), ("Administrators", 200)])
def test_a_new_account_sets_its_password_with_a_link_and_does_what_its_role_allows(admin_client, role, status):
    set_password(link_on(admin_client, added(admin_client, role)))

    ada = signed_in()
    assert ada.get("/admin/").status_code == 200
    assert ada.get("/admin/devices/device/add/").status_code == status
    assert ada.get("/admin/auth/user/").status_code == (200 if role == "Administrators" else 403)
    assert not User.objects.get(username="ada").is_staff


def test_pages_say_account_and_role_as_the_documents_do(admin_client):
    assert "Add an account" in admin_client.get("/admin/auth/user/").content.decode()
    added(admin_client)
    form = admin_client.get(f"/admin/auth/user/{User.objects.get(username='ada').pk}/change/").content.decode()
    assert re.search(r'type="checkbox" name="groups"[^>]+checked[^>]*>\s*Viewers', form)
    overview = admin_client.get("/admin/").content.decode()
    assert [name in overview for name in (">Accounts</a>", ">Users</a>")] == [True, False]


def test_a_link_works_once(admin_client):
    link = link_on(admin_client, added(admin_client))
    assert set_password(link) is not None
    assert set_password(link) is None


def test_another_link_can_be_made_for_an_account(admin_client):
    added(admin_client)
    ada = User.objects.get(username="ada")
    address = f"/admin/auth/user/{ada.pk}/new-link/"
    assert f'action="{address}"' in admin_client.get(f"/admin/auth/user/{ada.pk}/change/").content.decode()
    assert set_password(link_on(admin_client, admin_client.post(address))) is not None


def test_nobody_makes_a_link_for_an_account_that_can_do_more(admin_client, admin_user):
    set_password(link_on(admin_client, added(admin_client, "Administrators")))
    assert signed_in().post(f"/admin/auth/user/{admin_user.pk}/new-link/").status_code == 403


def test_an_account_that_is_limited_sees_the_devices_with_the_tag(admin_client, roof):
    set_password(link_on(admin_client, added(admin_client, "Operators", limit_names="roof")))
    ada = signed_in()
    assert [device["device_id"] for device in ada.get("/api/v1/devices").json()["results"]] == ["mote-1"]
    assert ada.get("/live/mote-2/").status_code == 404
    assert ada.get("/admin/devices/device/add/").status_code == 200


def test_a_limit_is_changed_and_taken_away_on_the_page_of_the_account(admin_client, roof):
    added(admin_client, limit_names="Roof")
    ada = User.objects.get(username="ada")
    page = f"/admin/auth/user/{ada.pk}/change/"
    assert 'value="Roof"' in admin_client.get(page).content.decode()
    joined = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "is_active": "on"}
    form = {"username": "ada", "email": "", "groups": [group.pk for group in ada.groups.all()], **joined}

    assert admin_client.post(page, form | {"limit_names": "nowhere"}).status_code == 200
    assert AccountTag.objects.filter(user=ada, tag=roof).exists()
    assert admin_client.post(page, form | {"limit_names": "roof"}).status_code == 302
    assert AccountTag.objects.filter(user=ada, tag=roof).exists()
    assert admin_client.post(page, form | {"limit_names": ""}).status_code == 302
    assert not AccountTag.objects.exists()


def test_an_account_never_becomes_unlimited_because_a_tag_was_deleted(admin_client, roof, monkeypatch):
    monkeypatch.setattr(LimitField, "clean", lambda field, value: [value])  # as if it was deleted after the check
    role = Group.objects.get(name="Viewers").pk
    form = {"username": "ada", "email": "", "role": role, "limit_names": "nowhere"}
    answer = admin_client.post(ADD, form, format="multipart", follow=True)
    assert "Nothing was saved. There is no tag" in answer.content.decode()
    assert not User.objects.filter(username="ada").exists()


def test_a_tag_that_limits_an_account_cannot_be_deleted(admin_client, admin, roof):
    added(admin_client, limit_names="Roof")
    answer = admin.delete("/api/v1/tags/roof")
    assert answer.status_code == 409
    assert "the account ada" in answer.json()["detail"]


def test_a_limited_administrator_sees_no_accounts_and_no_tokens(admin_client, roof):
    set_password(link_on(admin_client, added(admin_client, "Administrators", limit_names="Roof")))
    ada = signed_in()
    for path in ("/admin/auth/user/", "/admin/devices/apitoken/", "/admin/alarms/channel/", "/alarms/rules/new"):
        assert ada.get(path).status_code == 403, path
    assert ada.get("/api/v1/tokens").status_code == 403
